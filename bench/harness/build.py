"""Compiles the C programs (and Go's peer, where Go is installed) into build/bench."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
BUILD = BENCH.parent / "build" / "bench"


class BuildFailed(Exception):
    """A program could not be compiled; the text is why."""


def generator() -> Path:
    """The arbiter's path, compiled anew when a source is newer."""
    return c_program("generator", sorted((BENCH / "c" / "generator").glob("*.c")))


def tls_generator() -> Path:
    """The same with TLS, for which OpenSSL's headers are needed."""
    sources = sorted((BENCH / "c" / "generator").glob("*.c"))
    return c_program("generator-tls", sources, ("-DWITH_TLS", "-lssl", "-lcrypto"))


def c_program(name: str, sources: Sequence[Path] = (), flags: Sequence[str] = ()) -> Path:
    """Path of `name`, compiled from `sources` (empty: bench/c/NAME.c). Raises BuildFailed."""
    sources = list(sources) or [BENCH / "c" / f"{name}.c"]
    headers = [header for source in sources for header in source.parent.glob("*.h")]
    target = BUILD / name
    if _is_newer(target, [*sources, *headers]):
        return target
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BuildFailed("there is no C compiler: apt-get install gcc libc6-dev")
    _run([compiler, "-O2", "-o", str(target), *map(str, sources), *flags])
    return target


def go_program(name: str) -> Path:
    """Path of bench/peers/go/NAME.go, compiled. Raises BuildFailed."""
    source, target = BENCH / "peers" / "go" / f"{name}.go", BUILD / f"go_{name}"
    if _is_newer(target, [source]):
        return target
    compiler = shutil.which("go")
    if compiler is None:
        raise BuildFailed("Go is not installed: apt-get install golang-go")
    _run([compiler, "build", "-o", str(target), str(source)])
    return target


def _is_newer(target: Path, sources: Sequence[Path]) -> bool:
    if not target.exists():
        return False
    built = target.stat().st_mtime_ns
    return all(source.stat().st_mtime_ns <= built for source in sources)


def _run(command: Sequence[str]) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}: {done.stderr.strip()}")
