"""A model hub on loopback that takes repositories and commits by the hub's HTTP API. Standard library only."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """`private` is repository → whether it is; `files` repository → path → content; `tokens` those that came."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.private, self.files, self.tokens = {}, {}, set()
        self.refuses_commits = False

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
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
