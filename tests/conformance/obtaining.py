"""Gets what a suite needs: packages of PyPI and Debian, unpacked under `build/conformance`.

Nothing of it is part of this repository, and nothing is installed into the system.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "conformance"
PATIENCE_S = 600


class CannotBeHad(Exception):
    """A suite cannot be had on this machine: its sentence says what was tried."""


def version_of(python: str) -> str:
    """The interpreter's own name for its version, as in '3.11'."""
    words = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return _said(words, f"{python} does not run")


def directory_of(python: str, package: str) -> Path | None:
    """Where the interpreter has a package; None where it has none."""
    code = f"import {package} as package; print(package.__path__[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def site(python: str, packages: Sequence[str], name: str = "site") -> Path:
    """A directory for PYTHONPATH with these packages of PyPI, as wheels for the interpreter."""
    where = BUILD / f"{name}-{version_of(python)}"
    stamp = where / ".installed"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(where, ignore_errors=True)
        _pip(python, "install", "--target", str(where), "--only-binary", ":all:", *packages)
        stamp.write_text(wanted)
    return where


def sdist(python: str, name: str) -> Path:
    """The unpacked source distribution of a package, newest version."""
    where = BUILD / "sdists" / name
    unpacked = sorted(where.glob(f"{name}-*/"))
    if not unpacked:
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        # Only this package from source: what builds its metadata comes as wheels.
        _pip(python, "download", "--no-binary", name, "--no-deps", "-d", str(where), name)
        for archive in where.glob("*.tar.gz"):
            with tarfile.open(archive) as tar:
                tar.extractall(where, filter="data")
        unpacked = sorted(where.glob(f"{name}-*/"))
    return unpacked[-1]


def debian_files(package: str, of_version: str) -> Path:
    """A Debian package's files, unpacked apart; in the version of the package that is installed."""
    where = BUILD / "debian" / package
    if not (where / "usr").is_dir():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise CannotBeHad(f"{package} is needed, and there is no apt-get to get it with.")
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        version = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", of_version], capture_output=True, text=True
        ).stdout.strip()
        exact = [f"{package}={version}"] if version else []
        for name in (*exact, package):  # the mirror may have a later one only
            if subprocess.run(["apt-get", "-q", "download", name], cwd=where).returncode == 0:
                break
        archives = list(where.glob("*.deb"))
        if not archives:
            raise CannotBeHad(f"apt-get could not download {package}; try: apt-get update")
        subprocess.run(["dpkg", "-x", str(archives[0]), str(where)], check=True)
    return where


def debian_source(package: str) -> Path:
    """A Debian source package as its authors wrote it, unpacked.

    apt's lists and files stay below `build`: what the system knows is not changed.
    """
    where = BUILD / "debian-source" / package
    if not list(where.glob("*.orig.tar.*")):
        sources = Path("/etc/apt/sources.list.d/debian.sources")
        if shutil.which("apt-get") is None or not sources.exists():
            raise CannotBeHad(f"{package}'s source is needed: no apt-get, or no {sources}.")
        shutil.rmtree(where, ignore_errors=True)
        for directory in ("lists/partial", "cache/archives/partial"):
            (where / directory).mkdir(parents=True)
        listed = sources.read_text().replace("Types: deb\n", "Types: deb-src\n")
        (where / "own.sources").write_text(listed)
        options = {
            "Dir::Etc::sourcelist": where / "own.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": where / "lists",
            "Dir::Cache": where / "cache",
        }
        apt = ["apt-get", "-q", *(word for k, v in options.items() for word in ("-o", f"{k}={v}"))]
        for words in (["update"], ["source", "--download-only", package]):
            done = subprocess.run([*apt, *words], cwd=where, capture_output=True, text=True)
            if done.returncode != 0:
                raise CannotBeHad(f"apt-get {words[0]} failed: {done.stderr.strip()[-500:]}")
        (archive,) = where.glob("*.orig.tar.*")
        with tarfile.open(archive) as tar:
            tar.extractall(where / "unpacked", filter="data")
    (unpacked,) = (where / "unpacked").glob("*/")
    return unpacked


def _pip(python: str, *words: str) -> None:
    """pip for this interpreter, from whichever interpreter has pip: a venv may have none."""
    for with_pip in (python, getattr(sys, "_base_executable", ""), "python3"):
        if with_pip and directory_of(with_pip, "pip"):
            break
    else:
        raise CannotBeHad("pip is needed to get the suite, and no interpreter here has it.")
    command = [with_pip, "-m", "pip", "--disable-pip-version-check", "-q", "--python", python]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode != 0:
        raise CannotBeHad(f"pip {' '.join(words)} failed:\n{done.stderr.strip()[-2000:]}")


def _said(words: Sequence[str], otherwise: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotBeHad(f"{otherwise}: {done.stderr.strip()}")
    return done.stdout.strip()
