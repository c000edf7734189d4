"""A hub on loopback that takes models and gives data sets by the hub's HTTP API. Standard library only."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """`private` is model → whether it is; `files` model → path → content; `tokens` those that came.

    `datasets` is (data set, revision) → path → content.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.private, self.files, self.tokens = {}, {}, set()
        self.refuses_commits = False
        self.datasets = {}

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._give_file()

    def do_GET(self):
        if self.path.startswith("/datasets/"):
            return self._give_file()
        if self.path.startswith("/api/datasets/"):
            return self._describe_dataset()
        self.server.tokens.add(self.headers["Authorization"])
        name = self.path.split("?")[0].removeprefix("/api/models/").removesuffix("/revision/main")
        if name not in self.server.private:
            return self._answer(404, {"error": "Repository not found"}, code="RepoNotFound")
        return self._answer(200, {"id": name, "private": self.server.private[name], "siblings": [], "tags": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind, name = self._asked()
        if kind == "create":
            about = json.loads(body)
            name = "/".join(filter(None, (about.get("organization"), about["name"])))
            if name in self.server.private:
                return self._answer(409, {"error": "You already created it", "url": f"{self.server.address}/{name}"})
            private = about.get("private") or about.get("visibility") == "private"
            self.server.private[name], self.server.files[name] = private, {}
            return self._answer(200, {"url": f"{self.server.address}/{name}"})
        if kind == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": files})
        if kind == "commit":
            if self.server.refuses_commits:
                return self._answer(403, {"error": "no right to write"})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"{self.server.address}/{name}/commit/{'0' * 40}"
            return self._answer(200, {"commitUrl": address, "commitOid": "0" * 40})
        return self._answer(200, {"errors": [], "warnings": []})

    def _give_file(self):
        """/datasets/OWNER/NAME/resolve/REVISION/PATH"""
        _, _, owner, name, _, revision, path = self.path.split("?")[0].split("/", 6)
        content = self._dataset(f"{owner}/{name}", revision)[1].get(path)
        if content is None:
            return self._answer(404, {"error": "Entry not found"}, code="EntryNotFound")
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self._dataset(f"{owner}/{name}", revision)[0])
        self.end_headers()
        return self.command == "HEAD" or self.wfile.write(content)

    def _describe_dataset(self):
        """/api/datasets/OWNER/NAME, the same with /revision/REVISION, or /tree/REVISION[/FOLDER]"""
        parts = [*self.path.split("?")[0].split("/")[3:], "main"]
        commit, files = self._dataset("/".join(parts[:2]), parts[3] if len(parts) > 3 else "main")
        if "tree" in parts:
            return self._answer(
                200,
                [
                    {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for path, content in files.items()
                ],
            )
        siblings = [{"rfilename": path} for path in files]
        about = {"id": "/".join(parts[:2]), "sha": commit, "private": False, "tags": [], "siblings": siblings}
        return self._answer(200 if files else 404, about, code=None if files else "RepoNotFound")

    def _dataset(self, name, revision):
        """(commit, path → content), by the name of a revision or by its commit."""
        for (known, label), files in self.server.datasets.items():
            commit = hashlib.sha1(label.encode()).hexdigest()
            if known == name and revision in (label, commit):
                return commit, files
        return "", {}

    def _asked(self):
        """(what is asked, of which repository): /api/repos/create, /api/models/OWNER/NAME/commit/main …"""
        parts = self.path.split("?")[0].split("/")
        return (parts[3], "") if parts[2] == "repos" else (parts[-2], "/".join(parts[3:5]))

    def _answer(self, status, content, code=None):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, *_):
        """Nothing on stderr."""


@contextmanager
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
