"""The files that a run reads, from where it is started to its workers.

Facts. A scenario is a Python file; it imports what stands beside it, and its feeders read files
beside it or elsewhere. A worker has none of them, and may have others of the same names.

What that means here. All files are read where the run is started, and a mistake is told there. They
travel as bytes (nothing of a user's code is pickled), with the paths that they have. A worker
writes them into an empty folder as if that were the root of a file system, and its load client goes
to where the run was started in there. So each path that is relative means the same as before.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from c1m.cluster.part import Luggage
from c1m.errors import UsageError
from c1m.files import read_bytes
from c1m.results.options import LoadOptions
from c1m.scenarios import feeders
from c1m.scenarios.mix import weighed
from c1m.units import format_bytes

BYTES_MAX = 1 << 27  # of all files: each worker's part has them
MODULES_MAX = 1000  # of a package
_PATHS = ("url_file", "ca", "cert", "key")  # fields of LoadOptions


def pack(options: LoadOptions) -> tuple[LoadOptions, Luggage]:
    """The options of a part, and all files that it reads; after the run was outlined, since its
    feeders have read theirs by then. Raises UsageError for what cannot travel."""
    wanted = weighed(options.scenario)
    if not all(isinstance(each, str) for each, _ in wanted):
        raise UsageError(
            "A scenario that is an object cannot travel to the workers of a cluster.",
            "Give it by its file, as my_test.py:Shop.",
        )
    scenarios = [_file_of(each) for each, _ in wanted]
    modules = {one for path in scenarios if path for one in _with_imports(path)}
    named = [path for name in _PATHS if (path := getattr(options, name))]
    rows = feeders.files_of(modules)
    luggage = Luggage(_read([*sorted(modules), *rows, *named]), os.getcwd())
    moved = {path: os.path.relpath(path) for path in (*scenarios, *named) if os.path.isabs(path)}
    texts = {name: moved.get(path, path) for name in _PATHS if (path := getattr(options, name))}
    scenario = options.scenario
    if any(path in moved for path in scenarios):
        pairs = zip(wanted, scenarios, strict=True)
        scenario = {
            moved.get(path, path) + each[len(path) :]: weight for (each, weight), path in pairs
        }
    return replace(options, scenario=scenario, server_pid=None, **texts), luggage


def unpack(luggage: Luggage, root: str) -> str:
    """Write the files into a folder, and have them found; where the run was started, in there."""
    for path, data in luggage.files.items():
        place = _inside(root, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    feeders.found_under(root)
    folder = _inside(root, luggage.folder)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _inside(root: str, path: str) -> Path:
    """Where a path of another machine is here."""
    return Path(root, os.path.normpath("/" + path).lstrip("/"))


def _file_of(scenario: str) -> str:
    """The file of "FILE.py:Name"; "" where it is the name of one that is built in."""
    path, dot, _ = scenario.partition(".py")
    return path + dot if dot else ""


def _read(paths: Iterable[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in paths:
        found[os.path.abspath(path)] = read_bytes(path, BYTES_MAX)
    total = sum(map(len, found.values()))
    if total > BYTES_MAX:
        largest = max(found, key=lambda path: len(found[path]))
        raise UsageError(
            f"The files of this run have {format_bytes(total)}; at most {format_bytes(BYTES_MAX)} "
            "travel to each worker.",
            f"The largest is {largest}: make it smaller.",
        )
    return found


def _with_imports(path: str) -> set[str]:
    """A file, and the modules beside it that it imports, or that these import: absolute paths."""
    waiting = [Path(os.path.abspath(path))]
    folder, found = waiting[0].parent, set[str]()
    while waiting:
        one = waiting.pop()
        if str(one) in found:
            continue
        found.add(str(one))
        for name in _imported(one):
            waiting += _modules(folder, name)
    return found


def _modules(folder: Path, name: str) -> Iterator[Path]:
    """The files of a module or package of that name in a folder."""
    if (one := folder / f"{name}.py").is_file():
        yield one
    elif (package := folder / name).is_dir():
        files = sorted(package.rglob("*.py"))
        if len(files) > MODULES_MAX:
            raise UsageError(
                f"The package {package} has more than {MODULES_MAX:,} modules.",
                "Import less of it, or install it on the workers.",
            )
        yield from files


def _imported(path: Path) -> set[str]:
    """The first parts of all names that a file imports, wherever in it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return set()  # whoever imports it is told
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names
