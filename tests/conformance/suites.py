"""The foreign suites: how each one is had, which of its modules are run, and which in the sample.

Another suite is a function that gives a `Suite`, and a line in `SUITES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import obtaining
from .obtaining import CannotBeHad


@dataclass(frozen=True)
class Suite:
    """A suite, ready to be run by one interpreter."""

    name: str
    prefix: str  # of all its modules: 'test.test_asyncio.'
    modules: Sequence[str]  # without the prefix
    sample: Sequence[str]  # modules of the sample, or classes and tests in them
    paths: Sequence[Path]  # where the interpreter finds it, and what it needs
    package_paths: Sequence[tuple[str, Path]] = ()  # packages that go on in another directory


def cpython(python: str) -> Suite:
    """CPython's tests of asyncio, as its own test package has them."""
    package_paths: list[tuple[str, Path]] = []
    tests = obtaining.directory_of(python, "test.test_asyncio")
    if tests is None:
        # Debian keeps most of the package `test` in a package of its own.
        version = obtaining.version_of(python)
        files = obtaining.debian_files(
            f"libpython{version}-testsuite", f"libpython{version}-stdlib"
        )
        rest = files / "usr" / "lib" / f"python{version}" / "test"
        package_paths.append(("test", rest))
        tests = rest / "test_asyncio"
    # Other systems' loops, and a command that looks into another process's tasks.
    others = {"test_proactor_events", "test_tools", "test_windows_events", "test_windows_utils"}
    return Suite(
        name="cpython",
        prefix="test.test_asyncio.",
        modules=_modules(tests, others),
        sample=[
            "test_buffered_proto",
            "test_context",
            "test_events.EPollEventLoopTests",
            "test_runners",
            "test_server",
            "test_sock_lowlevel.EPollEventLoopTests",
            "test_sslproto",
            "test_streams",
            "test_transports",
            "test_unix_events",
        ],
        paths=[obtaining.site(python, PACKAGES)],
        package_paths=package_paths,
    )


def uvloop(python: str) -> Suite:
    """uvloop's tests, from its source distribution; its wheel is what they import."""
    source = obtaining.sdist(python, "uvloop")
    # Its tests are a package beside its sources, which must not come before the wheel's.
    tests = obtaining.BUILD / "uvloop-tests"
    tests.mkdir(parents=True, exist_ok=True)
    link = tests / "tests"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(source / "tests")
    return Suite(
        name="uvloop",
        prefix="tests.",
        modules=_modules(link, {"test_sourcecode"}),  # flake8 and mypy of uvloop's sources
        sample=[
            "test_context.Test_AIO_Context",
            "test_sockets.TestAIOSockets",
            "test_tcp.Test_AIO_TCP",
            "test_tcp.Test_UV_TCP.test_transport_get_extra_info",
            "test_tcp.Test_AIO_TCPSSL",
            "test_unix.Test_AIO_Unix",
            "test_unix.Test_AIO_UnixSSL",
        ],
        paths=[tests, obtaining.site(python, PACKAGES)],
    )


def _modules(directory: Path, without: set[str]) -> list[str]:
    names = sorted(path.stem for path in directory.glob("test_*.py"))
    return [name for name in names if name not in without]


# What the suites import, and what c1m needs: wheels are had for all of it.
PACKAGES = ("numpy", "uvloop", "psutil", "pyOpenSSL", "aiohttp")

SUITES: dict[str, Callable[[str], Suite]] = {"cpython": cpython, "uvloop": uvloop}

__all__ = ["SUITES", "CannotBeHad", "Suite"]
