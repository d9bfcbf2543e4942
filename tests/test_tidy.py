"""House limits: sizes, docstrings, and what has its one place."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "c1m"
FILES = {p.relative_to(SOURCE).as_posix(): p for p in sorted(SOURCE.rglob("*.py"))}
TESTS = {p.relative_to(ROOT).as_posix(): p for p in sorted((ROOT / "tests").rglob("*.py"))}

LINES_MAX = 600
LINES_MAX_ENGINE = 700  # an engine is one thing
ENGINES = {"engine/epoll.py", "engine/uring/engine.py"}
FUNCTION_LINES_MAX = 70

READS_TIME = {"clock.py", "cli/demo.py"}  # the demo waits for another process to start

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*FILES, *TESTS])
def test_every_module_says_what_it_is_for(name: str) -> None:
    path = FILES.get(name) or TESTS[name]
    if path.name == "__init__.py" and not path.read_text().strip():
        return  # only marks a package
    assert ast.get_docstring(parsed(path))


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_too_long(name: str) -> None:
    most = LINES_MAX_ENGINE if name in ENGINES else LINES_MAX
    assert len(FILES[name].read_text().splitlines()) <= most


@pytest.mark.parametrize("name", FILES)
def test_no_function_is_too_long(name: str) -> None:
    functions = [n for n in ast.walk(parsed(FILES[name])) if isinstance(n, Function)]
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert {f: n for f, n in lengths.items() if n > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("name", FILES)
def test_public_names_have_docstrings(name: str) -> None:
    """Public functions and classes of a module, and public methods of public classes."""
    missing = []
    for node in parsed(FILES[name]).body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            missing.append(node.name)
    assert missing == []


@pytest.mark.parametrize("name", FILES)
def test_nobody_prints(name: str) -> None:
    calls = [n for n in ast.walk(parsed(FILES[name])) if isinstance(n, ast.Call)]
    printing = [n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
    assert printing == []


@pytest.mark.parametrize("name", [n for n in FILES if n not in READS_TIME])
def test_time_is_read_in_one_place(name: str) -> None:
    tree = parsed(FILES[name])
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    assert "time" not in imported
    reads = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Attribute)
             and isinstance(n.value, ast.Name) and n.value.id == "time"]  # fmt: skip
    assert reads == []


@pytest.mark.parametrize(
    "name",
    [n for n in FILES if n.startswith(("push", "kv", "apps/", "web", "server", "guard", "fanout"))],
)
def test_servers_import_nothing_while_they_serve(name: str) -> None:
    """np.unique imports numpy.ma when it is first called: a descriptor that there may not be."""
    calls = re.findall(r"np\.unique\(.*", FILES[name].read_text())
    assert [call for call in calls if "return_" not in call] == []


@pytest.mark.parametrize("name", [*FILES, *TESTS])
def test_ignored_types_say_which(name: str) -> None:
    path = FILES.get(name) or TESTS[name]
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    comments = [t.string for t in tokens if t.type == tokenize.COMMENT]
    assert [c for c in comments if re.search(r"type:\s*ignore(?!\[)", c)] == []


def tracked() -> list[str]:
    """The repository's files, or all that are there where it is no repository."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [*TESTS, *(f"src/c1m/{name}" for name in FILES)]


def test_no_path_of_somebodys_machine() -> None:
    home = re.compile(rb"/(?:home|Users)/[a-z]|/work" rb"/(?:main|shared)|/root" rb"/\.")
    found = [name for name in tracked() if home.search((ROOT / name).read_bytes())]
    assert found == []
