"""The packages whose own tests are run on the loop, and how to get them.

A package's tests come in its source distribution from PyPI, which is unpacked below
build/conformance/packages; what they need is installed into a virtual environment of its own there,
so that ours stays clean. Nothing of a package is changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "conformance" / "packages"
RUNNER = ("numpy", "pytest>=9", "pytest-timeout", "pytest-mock")  # in each environment


@dataclass(frozen=True)
class Suite:
    """The tests of one package."""

    name: str
    version: str
    needs: tuple[str, ...]  # what its tests import
    arguments: tuple[str, ...] = ()  # for pytest
    paths: tuple[str, ...] = ("tests",)
    quick: tuple[str, ...] = ()  # those paths in which the loop does most
    extras: str = ""  # of the package itself
    not_run: tuple[str, ...] = ()  # tests that say nothing about a loop, and why beside them
    races: dict[str, str] = field(default_factory=dict)  # tests that time decides, and how

    @property
    def source(self) -> Path:
        """Where its source distribution is unpacked."""
        return BUILD / "src" / f"{self.name}-{self.version}"

    @property
    def environment(self) -> Path:
        """Its virtual environment."""
        return BUILD / f"venv-{self.name}"

    @property
    def python(self) -> Path:
        """The interpreter there."""
        return self.environment / "bin" / "python"


# `-o addopts=` leaves out coverage, reruns and several processes, which their own settings name.
PLAIN = ("-o", "addopts=")
SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "anyio", "4.16.0",
            needs=("blockbuster", "hypothesis", "psutil", "trustme", "truststore", "trio",
                   "exceptiongroup"),
            arguments=("-m", "not network", "-k", "not trio"),
            quick=("tests/test_sockets.py", "tests/test_eventloop.py", "tests/streams"),
        ),
        Suite(
            "uvicorn", "0.54.0", extras="[standard]",
            needs=("a2wsgi", "wsproto", "trustme", "cryptography", "httpx2", "zttp"),
            arguments=PLAIN,
            quick=("tests/protocols", "tests/test_server.py", "tests/test_ssl.py"),
        ),
        Suite(
            "aiohttp", "3.14.5", extras="[speedups]",
            needs=("blockbuster", "freezegun", "isal", "pkgconfig", "proxy.py", "re-assert",
                   "trustme", "zlib_ng", "pytest-cov", "pytest-codspeed", "pytest-xdist",
                   "python-on-whales", "setuptools", "uvicorn", "gunicorn"),
            arguments=(*PLAIN, "-m", "not dev_mode and not autobahn and not internal",
                       "-p", "no:codspeed"),
            quick=("tests/test_client_functional.py", "tests/test_web_functional.py",
                   "tests/test_web_sendfile_functional.py", "tests/test_client_ws_functional.py",
                   "tests/test_web_websocket_functional.py", "tests/test_web_runner.py",
                   "tests/test_proxy_functional.py"),
        ),
        Suite(
            "aiosmtpd", "1.4.6",
            needs=("setuptools<78", "pytest-asyncio", "pytest-cov"),
            arguments=(*PLAIN, "-o", "asyncio_default_fixture_loop_scope=function"),
            paths=("aiosmtpd/tests",),
            quick=("aiosmtpd/tests/test_smtp.py", "aiosmtpd/tests/test_starttls.py"),
        ),
        Suite(
            "asyncssh", "2.24.1", extras="[bcrypt,fido2,ifaddr,pyOpenSSL,pkcs11]",
            needs=("aiofiles", "setuptools"),
            quick=("tests/test_connection.py", "tests/test_channel.py", "tests/test_forward.py",
                   "tests/test_stream.py"),
            races={
                "tests/test_connection.py::_TestConnection::test_changing_server_host_key":
                "where the server's key exchange, its refusal and the end come together, asyncssh "
                "says 'Connection lost' for the refusal: on asyncio's loop, too, if a proxy holds "
                "them back until the end",
            },
        ),
        Suite(
            "starlette", "1.10.0", extras="[full]",
            needs=("blockbuster", "importlib-metadata", "opentelemetry-sdk", "trio",
                   "httpx2[zstd]"),
            arguments=("-k", "not trio"),
            quick=("tests/test_websockets.py", "tests/test_responses.py"),
        ),
    )
}  # fmt: skip


def get(suite: Suite) -> None:
    """Have its source and its environment. Raises CalledProcessError."""
    if not suite.source.is_dir():
        fetch_source(suite)
    stamp = suite.environment / ".complete"
    if not stamp.exists():
        make_environment(suite)
        stamp.touch()


def fetch_source(suite: Suite) -> None:
    """Its source distribution, unpacked."""
    place = BUILD / "sdist"
    place.mkdir(parents=True, exist_ok=True)
    wanted = f"{suite.name}=={suite.version}"
    pip(suite, "download", "--no-deps", "--no-binary", suite.name, "-d", str(place), wanted)
    for archive in place.glob(f"{suite.name}-{suite.version}.tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(suite.source.parent, filter="data")


def make_environment(suite: Suite) -> None:
    """A virtual environment with the package itself, as a wheel where there is one."""
    shutil.rmtree(suite.environment, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(suite.environment)], check=True
    )
    package = f"{suite.name}{suite.extras}=={suite.version}"
    pip(suite, "--python", str(suite.python), "install", package, *RUNNER, *suite.needs)


def pip(suite: Suite, *arguments: str) -> None:
    """The pip of the interpreter that made our own environment: that has none inside."""
    outside = Path(sys.base_prefix) / "bin" / "python3"
    command = [str(outside), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-5:])
        raise SystemExit(f"conformance: {suite.name} could not be had from PyPI:\n{tail}")
