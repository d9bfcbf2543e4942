"""Go's crypto/tls, Node's tls and Java's SSLSocket, in both roles: the programs of `programs/`.

They are built below `build` when first needed. As a client each has payloads of all sizes echoed,
ends its half by close_notify, and takes only that for the other half's end. As a server it echoes,
and says at its end how many connections ended in good order.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from certificates import ECDSA, RSA

from .. import obtaining
from ..obtaining import CannotBeHad
from .cases import CLIENT, SERVER, Case
from .openssl_client import BY_12, BY_13
from .piped import Piped
from .stage import PATIENCE_S, Failed, Stage

SOURCES = Path(__file__).with_name("programs")
BUILD_S = 300


def iana(name: str) -> str:
    """OpenSSL's name of a cipher of TLS 1.2 -> the registry's, as Java and Go have it."""
    kind, cipher = name.removeprefix("ECDHE-").split("-", 1)
    words = {
        "AES128-GCM-SHA256": "AES_128_GCM_SHA256",
        "AES256-GCM-SHA384": "AES_256_GCM_SHA384",
        "CHACHA20-POLY1305": "CHACHA20_POLY1305_SHA256",
    }
    return f"TLS_ECDHE_{kind}_WITH_{words[cipher]}"


@dataclass(frozen=True)
class Language:
    """How a program of it is had and called. `spoken`: the ciphers of 1.3 that it can be told."""

    name: str
    versions: tuple[str, ...]  # what says which version it is
    built: Callable[[], list[str]]  # the command
    words: Callable[[str, dict[str, Any]], list[str]]  # mode, options -> arguments
    ciphers_13: tuple[str, ...] = BY_13
    has_iana_names: bool = True

    def version(self) -> str:
        """As it says it."""
        if shutil.which(self.versions[0]) is None:
            raise CannotBeHad(f"{self.versions[0]} is not installed")
        done = subprocess.run(self.versions, capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()[0]

    def command(self, mode: str, **options: Any) -> list[str]:
        """To be run."""
        self.version()
        return [*self.built(), *self.words(mode, options)]

    def cipher(self, name: str) -> str:
        """A cipher of TLS 1.2 as it calls it."""
        return iana(name) if self.has_iana_names else name


def _built(name: str, source: str, command: list[str]) -> Path:
    """The directory where a source has been built."""
    where = obtaining.BUILD / "tls-peers" / name
    text = (SOURCES / source).read_text()
    stamp = where / ".built"
    if not stamp.exists() or stamp.read_text() != text:
        where.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCES / source, where)
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=BUILD_S)
        if done.returncode != 0:
            raise CannotBeHad(f"{source} cannot be built: {done.stderr[-1000:]}")
        stamp.write_text(text)
    return where


@cache
def _go() -> list[str]:
    return [str(_built("go", "peer.go", ["go", "build", "-o", "peer", "peer.go"]) / "peer")]


@cache
def _java() -> list[str]:
    if shutil.which("javac") is None:
        raise CannotBeHad("javac is not installed; try: apt-get install default-jdk-headless")
    where = _built("java", "Peer.java", ["javac", "Peer.java"])
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", str(where), "Peer"]


def _go_words(mode: str, options: dict[str, Any]) -> list[str]:
    if "port" in options:
        options["address"] = f"127.0.0.1:{options.pop('port')}"
    return [mode, *(f"-{name}={value}" for name, value in options.items())]


def _java_words(mode: str, options: dict[str, Any]) -> list[str]:
    options["version"] = f"TLSv{options['version']}"
    return [mode, *(f"{name}={value}" for name, value in options.items())]


def _node_words(mode: str, options: dict[str, Any]) -> list[str]:
    options["version"] = f"TLSv{options['version']}"
    return [mode, json.dumps(options, default=str)]


GO = Language("Go crypto/tls", ("go", "version"), _go, _go_words, ())
JAVA = Language("Java SSLSocket", ("java", "-version"), _java, _java_words)
NODE = Language(
    "Node.js tls", ("node", "--version"), lambda: ["node", str(SOURCES / "peer.mjs")], _node_words,
    has_iana_names=False,
)  # fmt: skip


@dataclass(frozen=True)
class Peers:
    """The cases of one language, as the suite wants them."""

    language: Language
    more: tuple[Case, ...] = field(default=())

    def version(self) -> str:
        """As it says it."""
        return self.language.version()

    def cases(self) -> list[Case]:
        """In both roles."""
        return [*as_client(self.language), *as_server(self.language)]


# --- as a client ----------------------------------------------------------------------------------


def client(stage: Stage, language: Language, port: int, **options: Any) -> list[str]:
    """Run it; what it said: good, the cipher, whether it resumed."""
    command = language.command("client", port=port, ca=stage.ca, **{"version": "1.3", **options})
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S * 2)
    said = done.stdout.split()
    if done.returncode != 0 or said[:1] != ["good"]:
        raise Failed(f"it ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return said


def _shown(stage: Stage) -> dict[str, Any]:
    return {"cert": stage.client.cert, "key": stage.client.key}


def as_client(language: Language) -> list[Case]:
    """Of our servers."""

    def case(what: str, run: Callable[[Stage], str | None]) -> Case:
        return Case(language.name, CLIENT, what, run)

    def plain(kind: str = ECDSA, **options: Any) -> Callable[[Stage], str | None]:
        def run(stage: Stage) -> None:
            client(stage, language, stage.serve(kind=kind), **options)

        return run

    def resumed(version: str) -> Callable[[Stage], str | None]:
        def run(stage: Stage) -> None:
            said = client(stage, language, stage.serve(), version=version, resume="true")
            if said[-1] != "true":
                raise Failed("its second connection did not resume the first one's session")

        return run

    def shown(version: str) -> Callable[[Stage], str | None]:
        def run(stage: Stage) -> None:
            port = stage.serve("echo", "--tls-client-ca", stage.ca)
            client(stage, language, port, version=version, **_shown(stage))

        return run

    found = [case("TLS 1.3", plain())]
    found += [case(name, plain(cipher=name)) for name in language.ciphers_13]
    found += [
        case(name, plain(kind, version="1.2", cipher=language.cipher(name))) for kind, name in BY_12
    ]
    for version in ("1.3", "1.2"):
        found.append(case(f"resumption, TLS {version}", resumed(version)))
        found.append(case(f"a client certificate, TLS {version}", shown(version)))
    if language is JAVA:
        for cipher, name in (("AES/GCM/NoPadding", BY_13[1]), ("ChaCha20-Poly1305", BY_13[2])):
            limits = f"{cipher} KeyUpdate 2^17"
            run = plain(cipher=name, limits=limits, rounds=20)
            found.append(case(f"KeyUpdate each 128 KiB, {name}", run))
    if language is GO:
        found.append(case("records that begin small", plain(small="true")))
        for version in ("1.3", "1.2"):
            late = plain(version=version, late="true")
            found.append(case(f"its half ends before it reads 500,000 bytes, TLS {version}", late))
    return found


# --- as a server ----------------------------------------------------------------------------------


@contextmanager
def server(
    stage: Stage, language: Language, kind: str = ECDSA, **options: Any
) -> Iterator[tuple[int, dict[str, int]]]:
    """Its port, and what it counted, behind its end."""
    leaf = stage.leaf(kind)
    options = {"version": "1.3", "ca": stage.ca, "cert": leaf.cert, "key": leaf.key, **options}
    if language is JAVA and kind == RSA:
        options["kind"] = "RSA"
    counts: dict[str, int] = {}
    with Piped(language.command("server", **options), stage.where) as process:
        yield int(process.until(b"\n")), counts
        process.end_input()
        process.wait()
        words = process.came.decode().split()
        counts.update(zip(words[::2], map(int, words[1::2]), strict=True))


def as_server(language: Language) -> list[Case]:
    """Of our load client."""

    def case(what: str, run: Callable[[Stage], str | None]) -> Case:
        return Case(language.name, SERVER, what, run)

    def plain(
        *ours: object, kind: str = ECDSA, shows: bool = False, connections: int = 5, **options: Any
    ) -> Callable[[Stage], str | None]:
        def run(stage: Stage) -> str:
            more = ("--cert", stage.client.cert, "--key", stage.client.key) if shows else ()
            with server(stage, language, kind, **options) as (port, counts):
                said = stage.echoes(port, *ours, *more, connections=connections)
            asking = 1  # before all others, for the certificate
            if counts != {"good": connections + asking, "cut": 0, "refused": 0, "resumed": 0}:
                raise Failed(f"its connections ended so: {counts}")
            return said

        return run

    def resumed(version: str) -> Callable[[Stage], str | None]:
        def run(stage: Stage) -> str:
            with server(stage, language, version=version) as (port, counts):
                url, storm = f"tls://127.0.0.1:{port}", ("--scenario", "reconnect-storm")
                stage.load(url, *storm, "--connections", 5, "--hold", "500ms", "--tls-resume")
            # The storm drops all five, by a reset, and opens them again.
            if counts["resumed"] < 5 or counts["good"] < 5 or counts["refused"]:
                raise Failed(f"its connections ended so: {counts}")
            return f"{counts['resumed']} of 10 resumed"

        return run

    found = [case("TLS 1.3", plain())]
    found += [case(name, plain(cipher=name)) for name in language.ciphers_13]
    found += [
        case(name, plain(kind=kind, version="1.2", cipher=language.cipher(name)))
        for kind, name in BY_12
    ]
    for version in ("1.3", "1.2"):
        asks = plain(shows=True, ask="true", version=version)
        found.append(case(f"a client certificate, TLS {version}", asks))
        if language is not JAVA:  # it does not tell
            found.append(case(f"resumption, TLS {version}", resumed(version)))
    if language is JAVA:
        run = plain(limits="AES/GCM/NoPadding KeyUpdate 2^17", cipher=BY_13[1], connections=2)
        found.append(case("KeyUpdate each 128 KiB", run))
    return found
