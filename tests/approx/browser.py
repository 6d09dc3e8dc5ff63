"""A real headless Chromium, driven over its debugging pipe; nothing but the standard library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-breakpad --hide-scrollbars "
    "--force-color-profile=srgb --remote-debugging-pipe"
).split()
if hasattr(os, "geteuid") and os.geteuid() == 0:
    FLAGS.append("--no-sandbox")  # Chromium refuses to run as root with one
SECONDS = 180  # for any answer: enough on a machine that is busy with other tests


class Browser:
    """One page; `complaints` collects everything that the console, the page and the network stack complain about."""

    def __init__(self):
        self.folder = tempfile.mkdtemp()
        down, up = os.pipe(), os.pipe()
        command = ["bash", "-c", f'exec "$@" 3<&{down[0]} 4>&{up[1]}', "chromium", CHROMIUM, *FLAGS]
        self.process = subprocess.Popen(
            [*command, f"--user-data-dir={self.folder}", "about:blank"],
            pass_fds=(down[0], up[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": self.folder},
            start_new_session=True,
        )
        os.close(down[0])
        os.close(up[1])
        self._send, self._receive, self._buffer = down[1], up[0], b""
        self._number, self._session = 0, None
        self.complaints, self.requests = [], []
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self):
        limit = time.monotonic() + SECONDS
        while not (pages := [t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page"]):
            if time.monotonic() > limit:
                raise TimeoutError("the browser opens no page")
            time.sleep(0.1)
        attached = self("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def close(self):
        """End it with all its processes; nothing it wrote is wanted."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._send)
        os.close(self._receive)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __call__(self, method, **params):
        """Send one command and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._hear(answer)

    def _next(self):
        while b"\0" not in self._buffer:
            if not select.select([self._receive], [], [], SECONDS)[0]:
                raise TimeoutError(f"no word from the browser for {SECONDS} s")
            chunk = os.read(self._receive, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser went away")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _hear(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def size(self, width, height, *, ratio=1, mobile=False, dark=False):
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=ratio, mobile=mobile,
        )  # fmt: skip
        self("Emulation.setTouchEmulationEnabled", enabled=mobile)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self("Emulation.setEmulatedMedia", features=scheme)

    def open(self, path, seconds=SECONDS):
        """Load a page and wait until its picture is complete."""
        self("Page.navigate", url=Path(path).resolve().as_uri())
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            time.sleep(0.05)
            if self.run("typeof order !== 'undefined' && order !== null"):
                self.frame()
                return
            if self.complaints:
                break
        raise TimeoutError(f"the page is not complete: {self.complaints}")

    def run(self, expression):
        """The value of a JavaScript expression; promises are awaited."""
        done = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"]["exception"]["description"])
        return done["result"].get("value")

    def frame(self):
        """Wait until the next picture has been drawn."""
        self.run("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")

    def key(self, key, *, shift=False):
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0)

    def screenshot(self, path=None):
        data = base64.b64decode(self("Page.captureScreenshot", format="png")["data"])
        if path:
            Path(path).write_bytes(data)
        return data
