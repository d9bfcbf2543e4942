"""Imports go one way, as drawn in c1m's docstring: read from the source.

Lazy ones and those for annotations only (under `if TYPE_CHECKING:`) are included. The public face,
`c1m/__init__.py`, names everything and is left out.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path

import pytest

import c1m

SOURCE = Path(c1m.__file__).parent

LEAVES = {"errors", "bounds", "clock", "units", "addresses", "files", "arguments"}

# A layer -> the layers that it may import besides itself and the leaves, from the bottom up.
MAY_IMPORT = {
    "kernel": set(),
    "results": set(),
    "engine": {"kernel"},
    "protocols": {"engine"},
    "tls": {"engine", "kernel"},
    "guard": {"engine"},
    "limits": {"engine", "kernel", "results", "tls"},
    "scenarios": {"engine", "protocols", "results"},
    "loop": {"engine"},
    "server": {"engine", "guard", "kernel", "loop", "protocols", "results", "tls"},
    "aio": {"engine", "guard", "loop", "results", "server"},
    "serving": {"aio", "loop", "server"},
    "fanout": {"engine", "guard"},
    "relay": {"server"},
    "kv": {"engine", "fanout", "guard", "protocols"},
    "push": {"engine", "fanout", "guard", "protocols"},
    "web": {"engine", "fanout", "guard", "protocols", "server", "tls"},
    "apps": {
        "engine", "fanout", "guard", "kernel", "kv", "protocols", "push", "relay", "server", "web",
    },
    "loadgen": {"engine", "kernel", "limits", "loop", "protocols", "results", "scenarios", "tls"},
    "cluster": {"engine", "limits", "loadgen", "loop", "results", "scenarios"},
    "loading": {"cluster", "engine", "loadgen", "results", "scenarios"},
    "report": {"results"},
    "cli": {
        "apps", "cluster", "engine", "guard", "kernel", "limits", "loadgen", "loading", "loop",
        "protocols", "report", "results", "scenarios", "server", "serving", "tls", "web",
    },
    "testing": {"kernel"},
    "__main__": {"cli"},
}  # fmt: skip

# Leaves import leaves, and only these.
LEAF_IMPORTS = {
    "errors": set(),
    "bounds": set(),
    "clock": set(),
    "units": {"errors"},
    "addresses": {"errors"},
    "files": {"errors", "bounds"},
    "arguments": {"errors", "bounds", "units"},
}

# No system call and no clock: arithmetic that runs anywhere.
PURE = [
    "addresses", "arguments", "units", "bounds", "errors",
    "engine/checks", "engine/contract", "engine/epoll_batch", "engine/given", "engine/lingering",
    "engine/names", "engine/outbox", "engine/ragged", "engine/states", "engine/uring/table",
    "guard/admission", "guard/bucket", "guard/networks", "guard/options", "guard/reasons",
    "guard/sources",
    "server/spread", "server/statistics", "server/sums",
    "tls/certificates", "tls/failures", "tls/reasons", "tls/records", "tls/session",
    "tls/statistics", "tls/suites", "tls/words",
    "results/*",
    "protocols/*",
    "fanout/*", "kv/*", "push/*", "relay/broker", "relay/envelope", "relay/numbers",
    "scenarios/*",
    "limits/catalogue", "limits/conntrack", "limits/descriptors", "limits/diagnosis",
    "limits/limit", "limits/memory", "limits/mqtt_reasons", "limits/needs", "limits/ports",
    "limits/queues", "limits/reasons", "limits/tls_reasons", "limits/uring",
    "limits/walls",
    "cluster/clocks", "cluster/conductor", "cluster/cues", "cluster/frames", "cluster/head",
    "cluster/limit", "cluster/machines", "cluster/merge", "cluster/part", "cluster/part_record",
    "cluster/sentences",
    "loadgen/arrivals", "loadgen/backlog", "loadgen/connections", "loadgen/recorder",
    "loadgen/sources", "loadgen/spoken", "loadgen/stages", "loadgen/transports/*",
    "report/blocks", "report/compare", "report/compare_text", "report/plot", "report/plots",
    "report/request_sections", "report/sections", "report/text",
]  # fmt: skip
# pathlib is not here: a path is text until somebody opens it, which only system modules do.
MEETS_THE_SYSTEM = {
    "asyncio", "ctypes", "fcntl", "io", "mmap", "multiprocessing", "os", "platform", "resource",
    "select", "selectors", "signal", "socket", "subprocess", "sys", "tempfile", "termios",
    "threading", "time", "datetime", "pathlib", "shutil",
}  # fmt: skip
IMPURE_WITH_REASON = {
    ("limits/uring", "os"): "os.strerror, a table of texts",
    ("limits/reasons", "os"): "os.strerror, a table of texts",
    ("results/record", "pathlib"): "read and written where a path says",
    ("scenarios/feeders", "io"): "StringIO is memory only",
    ("scenarios/feeders", "os"): "rows are in a file",
    ("scenarios/feeders", "sys"): "beside the file that asks for it",
    ("scenarios/loader", "os"): "a user's scenario is a file",
    ("protocols/resp/requests", "io"): "BytesIO is memory only",
    ("scenarios/loader", "sys"): "what stands beside it can be imported",
}

KERNEL_ONLY = {"ctypes", "mmap", "socket", "select", "resource", "fcntl"}
KERNEL_ELSEWHERE = {
    "engine/epoll_accept": {"select"},
    "engine/epoll_interests": {"select"},
    "engine/epoll": {"select", "resource"},  # Python's own epoll; the limit it ends at
    "engine/uring/connect": {"socket"},  # constants: option numbers in submissions
    "engine/uring/submissions": {"socket"},  # constants: MSG_ flags in submissions
    "aio/loop": {"socket"},  # asyncio makes and takes Python's sockets
    "aio/sockets": {"socket"},
    "loadgen/tls": {"socket"},  # looks once more at a certificate that was refused
    "loadgen/nodes": {"socket"},  # asks a target for its cluster, before anything is opened
    "loadgen/targets": {"socket"},  # asks the kernel for a route; nothing is sent
    "apps/kv/connections": {"socket"},  # shows addresses; asks a descriptor for its own
    "server/admin": {"socket"},  # a thread beside the server, with Python's own http.server
    "cli/top": {"socket"},  # a connection by a unix socket
    "cli/demo": {"socket"},  # looks for a free port
    "cli/live/observer": {"socket"},  # a pair of them, to its other process
    "testing/fake_kernel": {"mmap"},  # a type
    "testing/fake_operations": {"ctypes", "socket"},  # reads the memory it was pointed at, as
    "testing/fake_requests": {"ctypes"},  # the kernel does
    "testing/fake_ring": {"ctypes"},
}


class Imports(ast.NodeVisitor):
    """Names of the modules that a file imports: "c1m.engine.contract", "os"."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            self.names.add(inner if inner in MODULES else node.module)


def name_of(path: Path) -> str:
    """src/c1m/engine/base.py -> "engine/base"; a package's __init__ -> its name."""
    name = path.relative_to(SOURCE).with_suffix("").as_posix()
    return name.removesuffix("/__init__")


FILES = {name_of(p): p for p in sorted(SOURCE.rglob("*.py")) if p != SOURCE / "__init__.py"}
MODULES = {"c1m." + name.replace("/", ".") for name in FILES}


def imports_of(name: str) -> set[str]:
    visitor = Imports()
    visitor.visit(ast.parse(FILES[name].read_text()))
    return visitor.names


def ours(name: str) -> set[str]:
    """What it imports of c1m, without that prefix: "engine.base"."""
    return {n.removeprefix("c1m.") for n in imports_of(name) if n.startswith("c1m.")}


def is_in(module: str, layers: set[str]) -> bool:
    return any(module == layer or module.startswith(layer + ".") for layer in layers)


def layer_of(name: str) -> str:
    return name.partition("/")[0]


def test_every_file_is_in_a_layer() -> None:
    assert {layer_of(name) for name in FILES} <= LEAVES | set(MAY_IMPORT)


@pytest.mark.parametrize("name", FILES)
def test_imports_go_one_way(name: str) -> None:
    layer = layer_of(name)
    if layer in LEAVES:
        assert {m for m in ours(name) if not is_in(m, LEAF_IMPORTS[layer])} == set()
    else:
        allowed = MAY_IMPORT[layer] | LEAVES | {layer}
        assert {m for m in ours(name) if not is_in(m, allowed)} == set()


def test_there_is_no_circle_of_layers_or_of_files() -> None:
    layers = {layer: set(below) for layer, below in MAY_IMPORT.items()}
    files = {name: {m.replace(".", "/") for m in ours(name)} - {name} for name in FILES}
    for above in (layers, files):
        while above:
            ground = [one for one, below in above.items() if not below & set(above)]
            assert ground, f"a circle among {sorted(above)}"
            for one in ground:
                del above[one]


def test_server_and_load_do_not_know_each_other() -> None:
    for name in FILES:
        known = {m.partition(".")[0] for m in ours(name)}
        assert not (layer_of(name) == "loadgen" and known & {"server", "apps"}), name
        assert not (layer_of(name) in ("server", "apps") and "loadgen" in known), name


def test_only_choose_names_both_engines() -> None:
    for name in FILES:
        engines = ours(name) & {"engine.uring.engine", "engine.epoll"}
        assert name in ("engine/choose", "engine/tiered") or not engines, name


@pytest.mark.parametrize("name", [n for n in FILES if layer_of(n) != "kernel"])
def test_only_the_kernel_package_meets_the_kernel(name: str) -> None:
    used = {n.partition(".")[0] for n in imports_of(name)} & KERNEL_ONLY
    assert used == KERNEL_ELSEWHERE.get(name, set())  # a reason that is gone goes from the list


@pytest.mark.parametrize("name", sorted({n for p in PURE for n in FILES if fnmatch(n, p)}))
def test_pure_modules_meet_neither_the_system_nor_the_clock(name: str) -> None:
    roots = {n.partition(".")[0] for n in imports_of(name)}
    used = {m for m in roots & MEETS_THE_SYSTEM if (name, m) not in IMPURE_WITH_REASON}
    assert used == set()
    assert not {m for m in ours(name) if is_in(m, {"clock", "kernel"})}


def test_every_pure_name_is_a_file() -> None:
    assert all(any(fnmatch(n, pattern) for n in FILES) for pattern in PURE)


def test_importing_c1m_brings_in_neither_numpy_nor_a_thread() -> None:
    code = "import sys, c1m, threading; print('numpy' in sys.modules, threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "1"]
