"""A headless Chromium for tests, driven by its DevTools protocol over a pair of pipes.

With --remote-debugging-pipe Chromium reads commands from descriptor 3 and writes answers and events
to descriptor 4, JSON values that each end in a zero byte: no port and no websocket are needed.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S = 60  # for an answer: a stuck browser is a failure, not a measure

_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # its sandbox refuses to run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have a small /dev/shm
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), " ": (32, " ")}
# Puts the pipes where Chromium looks for them, in a process of its own: descriptors 3 and 4 of the
# test process may be in use.
_PLACE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """The browser's path, or None where none is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A running Chromium, with `more` flags. A context manager; `Page` has what tests do with a
    page.
    """

    def __init__(self, path: str, profile: Path, *more: str) -> None:
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        # above 9, so that placing one at 3 does not close the other
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (commands, answers)]
        self._errors = (profile / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PLACE, *map(str, ends), path, *_FLAGS,
             *more, f"--user-data-dir={profile}"],
            pass_fds=ends, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True,
        )  # fmt: skip
        for fd in (commands, answers, *ends):
            os.close(fd)
        self._waiting = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """One command and its answer; events that come meanwhile are kept in `events`."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self.events.append(message)
        if "error" in message:
            raise AssertionError(f"{method}: {message['error']}")
        answer: dict[str, Any] = message["result"]
        return answer

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            readable, _, _ = select.select([self._in], [], [], PATIENCE_S)
            piece = os.read(self._in, 1 << 16) if readable else b""
            if not piece:
                self._errors.seek(0)
                raise AssertionError(
                    f"the browser says nothing more: {self._errors.read()[-2000:]}"
                )
            self._waiting += piece
        first, _, self._waiting = self._waiting.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def open(self, place: Path | str, **device: Any) -> Page:
        """A file or a URL, loaded in a page. A context manager: open pages slow each other."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        return Page(self, target, attached["sessionId"], place, device)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (self._out, self._in):  # it ends when its pipe does
            os.close(fd)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self._errors.close()


class Page:
    """A loaded page. `device`: width, height, dark, touch."""

    def __init__(
        self,
        browser: Browser,
        target: str,
        session: str,
        place: Path | str,
        device: dict[str, Any],
    ) -> None:
        self._browser, self._target, self._session = browser, target, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        width, height = device.get("width", 1200), device.get("height", 900)
        is_touch = device.get("touch", False)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=is_touch)  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=is_touch)
        self.set_dark(device.get("dark", False))
        self.go(place if isinstance(place, str) else place.as_uri())

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of this page."""
        return self._browser.call(method, self._session, **params)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression (or the promise that it is) comes to."""
        made = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                         awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def go(self, url: str) -> None:
        """Another page in its place, loaded."""
        self.call("Page.navigate", url=url)
        at = json.dumps(url.split(":")[0] + ":")
        self.wait_for(f"document.readyState === 'complete' && location.protocol === {at}")

    def wait_for(self, condition: str) -> None:
        """Until a JavaScript condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.value(condition):
            assert time.monotonic() < deadline, f"{condition} does not come true"
            time.sleep(0.02)

    def set_dark(self, is_dark: bool) -> None:
        """What the reader's system prefers."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The mouse pressed at `start` (x, y of the window), moved to `end` and released."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        steps = [("mouseMoved", start), ("mousePressed", start), ("mouseMoved", middle),
                 ("mouseMoved", end), ("mouseReleased", end)]  # fmt: skip
        for kind, (x, y) in steps:
            is_down = kind != "mouseMoved" or (x, y) != start
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, clickCount=1,
                      button="left" if is_down else "none", buttons=int(is_down))  # fmt: skip

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key, by its name: "Tab", "Enter"."""
        code, text = _KEYS[key]
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def write(self, text: str) -> None:
        """Text, as if it were typed where the focus is."""
        self.call("Input.insertText", text=text)

    def hover(self, x: float, y: float) -> None:
        """The mouse moved there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        made = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(made["data"]))

    def events(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of what the page reported so far."""
        return [
            event["params"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] in methods
        ]

    def complaints(self) -> list[str]:
        """Exceptions, console errors and warnings, refused loads, violations of the policy."""
        told = [e["exceptionDetails"]["text"] for e in self.events("Runtime.exceptionThrown")]
        told += [e["entry"]["text"] for e in self.events("Log.entryAdded")
                 if e["entry"]["level"] in ("warning", "error")]  # fmt: skip
        return told + [str(e["args"]) for e in self.events("Runtime.consoleAPICalled")
                       if e["type"] in ("warning", "error", "assert")]  # fmt: skip

    def requested(self) -> list[str]:
        """Addresses that the page asked for, those within the page left out."""
        urls = [e["request"]["url"] for e in self.events("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]
