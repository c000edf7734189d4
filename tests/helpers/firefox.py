"""Debian's Firefox, driven by Marionette, its own remote protocol: Playwright drives its own build of one alone."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def firefox_path():
    """Where a Firefox is, or None."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


class Firefox:
    """A headless Firefox with a profile of its own. `dark` is what it says of the system's colours."""

    def __init__(self, *, dark=False):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        preferences = {
            "marionette.port": port,
            "layout.css.prefers-color-scheme.content-override": 0 if dark else 1,
            "app.update.enabled": False,
            "datareporting.policy.dataSubmissionEnabled": False,
            "browser.shell.checkDefaultBrowser": False,
        }
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (Path(self._profile.name) / "user.js").write_text("".join(lines))
        command = [firefox_path(), "--headless", "--marionette", "--no-remote", "--profile", self._profile.name]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._socket = self._connect(port)
        self._number = 0
        self._read()
        self._send("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": False}}})

    def _connect(self, port):
        for _ in range(600):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=60)
            except ConnectionRefusedError:
                assert self._process.poll() is None, "Firefox ended"
                time.sleep(0.1)
        raise AssertionError("Firefox did not listen")

    def _read(self):
        """One message: its length in decimals, a colon, JSON."""
        length = b""
        while not length.endswith(b":"):
            length += self._socket.recv(1)
        left, parts = int(length[:-1]), []
        while left:
            parts.append(self._socket.recv(left))
            left -= len(parts[-1])
        return json.loads(b"".join(parts))

    def _send(self, command, parameters):
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def open(self, address, *, width=1280, height=800):
        """Show an address in a window of this size."""
        self._send("WebDriver:SetWindowRect", {"width": width, "height": height})
        self._send("WebDriver:Navigate", {"url": address})

    def run(self, script, *arguments):
        """What a script, the body of a function, returns."""
        return self._send("WebDriver:ExecuteScript", {"script": script, "args": list(arguments)})["value"]

    def wait(self, script):
        """Wait until a script returns something true."""
        for _ in range(300):
            if self.run(script):
                return
            time.sleep(0.1)
        raise AssertionError(f"never true: {script}")

    def awaited(self, script, *arguments):
        """What a script hands to the function that is its last argument."""
        parameters = {"script": script, "args": list(arguments)}
        return self._send("WebDriver:ExecuteAsyncScript", parameters)["value"]

    def close(self):
        """End it."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()
