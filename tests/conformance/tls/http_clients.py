"""curl and Chromium as clients of the push server, and redis-cli of the key-value server."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from e2e.devtools import Browser, find

from ..obtaining import CannotBeHad
from .cases import CLIENT, Case
from .openssl_client import BY_13
from .piped import Piped
from .stage import PATIENCE_S, Failed, Stage, payload

CURL, CHROMIUM, REDIS_CLI = "curl", "Chromium", "redis-cli"
SUBSCRIBE = """
window.came = [[], []];
window.opened = 0;
const source = new EventSource("/events?channel=browser");
source.onopen = () => { opened += 1; };
source.onmessage = ({ data }) => { came[0].push(data); };
const socket = new WebSocket(`wss://${location.host}/connect?channel=browser`);
socket.onopen = () => { opened += 1; };
socket.onmessage = ({ data }) => { came[1].push(data); };
"""


def version() -> str:
    """Of the three, as far as they are here."""
    found = []
    for name in ("curl", "chromium", "redis-cli"):
        if shutil.which(name):
            done = subprocess.run([name, "--version"], capture_output=True, text=True)
            found.append(" ".join(done.stdout.split()[:2]))
    return ", ".join(found)


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CannotBeHad(f"{name} is not installed; try: apt-get install {package}")
    return found


# --- curl -----------------------------------------------------------------------------------------


def _curl(stage: Stage, *options: object) -> list[object]:
    return [_program("curl", "curl"), "-sS", "-m", PATIENCE_S, "--cacert", stage.ca, *options]


def _asked(stage: Stage, *options: object, body: bytes = b"") -> tuple[bytes, str]:
    done = subprocess.run(list(map(str, _curl(stage, *options))), input=body, capture_output=True)
    if done.returncode != 0:
        raise Failed(f"curl ended with {done.returncode}: {done.stderr[-600:]!r}")
    return done.stdout, done.stderr.decode(errors="replace")


def curl_all(stage: Stage, *options: str) -> None:
    """A stream of events, and what is published by POST while it is open; a GET of a page."""
    place = f"https://localhost:{stage.serve('push')}"
    stream = _curl(stage, *options, "-N", f"{place}/events?channel=curl")
    with Piped(stream, stage.where) as subscriber:
        subscriber.until(b"id: ")
        for size in (1, 16_384, 60_000):
            text = payload(size).hex()[:size].encode()
            publish = ("--data-binary", "@-", f"{place}/publish?channel=curl")
            said, _ = _asked(stage, *options, *publish, body=text)
            if json.loads(said)["subscribers"] != 1:
                raise Failed(f"a publication went to {said!r}")
            subscriber.until(b"data: " + text + b"\n\n")
    status, _ = _asked(stage, *options, "-o", "/dev/null", "-w", "%{http_code}", f"{place}/none")
    if status != b"404":
        raise Failed(f"a page that is not there has the status {status!r}")


def curl_alpn(stage: Stage) -> str:
    """It offers h2 and http/1.1, and one connection serves two requests."""
    place = f"https://localhost:{stage.serve('push')}/none"
    _, said = _asked(stage, "-v", "--http2", place, place)
    if "Re-using existing connection" not in said:
        raise Failed(f"it did not use its connection twice: {said[-800:]}")
    if "ALPN: server accepted http/1.1" not in said:
        raise Failed("the server did not say http/1.1 by ALPN")
    return "http/1.1"


# --- Chromium -------------------------------------------------------------------------------------


def chromium(stage: Stage) -> None:
    """A page with a WebSocket and an EventSource, which publishes itself; reloaded once."""
    path = find()
    if path is None:
        raise CannotBeHad("no Chromium is installed; try: apt-get install chromium")
    place = f"https://localhost:{stage.serve('push')}"
    profile = stage.where / "chromium"
    profile.mkdir(exist_ok=True)
    texts = [payload(size).hex()[:size] for size in (1, 16_384, 60_000)]
    with Browser(path, profile, f"--ignore-certificate-errors-spki-list={_pin(stage)}") as browser:
        for _ in range(2):
            with browser.open(f"{place}/none") as page:
                page.value(SUBSCRIBE)
                page.wait_for("opened === 2")
                for text in texts:
                    body = f"{{ method: 'POST', body: {json.dumps(text)} }}"
                    page.value(f"fetch('/publish?channel=browser', {body}).then((r) => r.text())")
                page.wait_for(f"came.every((each) => each.length === {len(texts)})")
                if page.value("came") != [texts, texts]:
                    raise Failed("what came is not what was published")


def _pin(stage: Stage) -> str:
    """The certificate's key, as the browser is told to trust it."""
    key = stage.leaf().certificate.public_key()
    raw = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(raw).digest()).decode()


# --- redis-cli ------------------------------------------------------------------------------------


def redis_cli(stage: Stage, *options: object, shows: bool = False) -> None:
    """Values in and out, of all sizes."""
    program = _program("redis-cli", "redis-tools")
    port = stage.serve("kv", *(("--tls-client-ca", stage.ca) if shows else ()))
    command = [program, "-h", "localhost", "-p", port, "--tls", "--cacert", stage.ca, *options]
    if shows:
        command += ["--cert", stage.client.cert, "--key", stage.client.key]
    for size in (1, 16_384, 100_000):
        value = payload(size)
        for words, sent, wanted in (
            (["-x", "SET", "a"], value, b"OK\n"), (["--raw", "GET", "a"], b"", value + b"\n"),
        ):  # fmt: skip
            done = subprocess.run(
                list(map(str, [*command, *words])), input=sent, capture_output=True,
                timeout=PATIENCE_S,
            )  # fmt: skip
            if done.stdout != wanted:
                raise Failed(f"{words} of {size} bytes: {done.stdout[:100]!r} {done.stderr!r}")


def cases() -> list[Case]:
    """All of them."""

    def case(peer: str, what: str, function: Callable[..., str | None], *more: object) -> Case:
        return Case(peer, CLIENT, what, lambda stage: function(stage, *more))

    def with_certificate(stage: Stage) -> None:
        redis_cli(stage, shows=True)

    found = [
        case(CURL, f"GET, POST, events, {name}", curl_all, "--tls13-ciphers", name, "--tlsv1.3")
        for name in BY_13
    ]
    return [
        *found,
        case(CURL, "GET, POST, events, TLS 1.2", curl_all, "--tls-max", "1.2"),
        case(CURL, "ALPN", curl_alpn),
        case(CHROMIUM, "wss:// and EventSource", chromium),
        case(REDIS_CLI, "TLS 1.3", redis_cli),
        case(REDIS_CLI, "a client certificate", with_certificate),
    ]
