"""The documentation is true: its commands run, its links lead somewhere, nothing is left out.

How a page says what is to be run:

    ```console            lines that begin with "$ " are run by bash, in order, in one shell and a
                          fresh directory, in which are the checkout's examples; all others are
                          output, which is not compared
    # exit status 1       behind a command: what it ends with, where that is not 0; "0 or 1" where
                          it depends on what was measured
    command &             a server: the next command waits until it listens; ended with the page
    <!-- file: NAME -->   before a fence: its text is written to that file
    <!-- not run: why --> before a fence: it is only shown
    <!-- own network -->  anywhere: the page is run as root in a network namespace
    <!-- test with 5k --> anywhere: the page's servers are slow, counts above this become this one
    <!-- stages -->       before a fence: stages, of which each line or plan is parsed

What is changed in commands and files before they are run (`as_run`), so that this takes a minute
and needs neither memory nor luck: see COUNT_MOST, SECONDS_MOST, PATIENCE; and ports are replaced by
free ones. With C1M_DOCS=as-written only the ports are.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from c1m.cli.load import load
from c1m.loadgen import stages
from c1m.loadgen.stages import parse_stages
from c1m.results.options import LoadOptions
from c1m.units import NS_PER_S, parse_count, parse_duration
from e2e.cli_helpers import free_ports
from e2e.debian_servers import program

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in sorted([*DOCS.glob("tutorial/*.md"), *DOCS.glob("how-to/*.md")])
} | {f"docs/reference/{name}.md": DOCS / f"reference/{name}.md" for name in ("load", "report")}
LINKED = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "bench" / "README.md"])

AS_WRITTEN = os.environ.get("C1M_DOCS") == "as-written"
COUNT_MOST = 20_000  # connections: larger counts become this one
SECONDS_MOST = 1  # of --hold, for, every, in: longer times become this one
PATIENCE = 100  # bounds on times in thresholds are so many times as wide: no test asserts a time
PORTS = ("8001", "8002", "8003", "8011", "8012", "8013", "8080", "9100")  # those that pages may use
PAGE_S = 280 if not AS_WRITTEN else 3000

PROGRAMS = (
    "curl|haproxy|ip|mosquitto|nginx|openssl|redis-cli|redis-server|stunnel"  # that may be missing
)

_COUNT = re.compile(r"(?<!\w)(?<!\d\.)(\d+(?:[_,]\d{3})+|\d+[kM])(?![\w/])")
_TIME = re.compile(r"((?:--hold[ =]|\bfor |\bevery |\bin |\bhold=\")\s*)(\d+(?:ms|s|m|h))\b")
_BOUND = re.compile(r"([<>]=?\s*)(\d+)(ns|us|ms|s)\b")
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (file|not run|stages)(?:: ([^>]*?))? -->\s*$")
_MOST = re.compile(r"<!-- test with (\d+k) -->")
_STATUS = re.compile(r"# exit status (\d(?: or \d)*)$")

# /proc/PID/net/tcp is of the network namespace of PID; 0A is LISTEN, and those come first: the
# rest is not read, for there may be a million.
_FUNCTIONS = r"""
set -u
__count() {
    cat /proc/$1/net/tcp 2>/dev/null | awk -v ports=" $__ports " '
        NR > 1 && $4 != "0A" { exit }
        { split($2, at, ":"); if ($4 == "0A" && index(ports, " " at[2] " ")) found++ }
        END { print found + 0 }'
}
__listens() {
    local turn before
    for turn in $(seq 2400); do
        before=$2
        [ "$(readlink /proc/$1/ns/net)" = "$(readlink /proc/$$/ns/net)" ] || before=0
        [ "$(__count $1)" -gt "$before" ] && return
        kill -0 $1 2>/dev/null || { echo "@@ line $3: ended and never listened"; exit 99; }
        sleep 0.05
    done
    echo "@@ line $3: does not listen"; exit 99
}
__status() {
    # A load of so many a second on a machine that has no time for it: no test asserts a time.
    if [ "$1 $2" = "1 0" ]; then
        grep -q "^LOWER BOUND: the generator was saturated" $__said && return
        local short=$(grep "^  - " $__said)
        [ -n "$short" ] && ! grep -qv "requests that were due were not sent" <<<"$short" && return
    fi
    [[ "$2" = *"$1"* ]] || { echo "@@ line $3: exit status $1, not $2"; exit 99; }
}
"""


@dataclass
class Page:
    """What a page has: commands with their lines and exit status (files are commands), plans."""

    steps: list[tuple[int, str, str]] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    own_network: bool = False
    count_most: int = COUNT_MOST


def read_page(path: Path) -> Page:
    """The page's fences by their marks."""
    text = path.read_text(encoding="utf-8")
    page = Page(own_network="<!-- own network -->" in text)
    if most := _MOST.search(text):
        page.count_most = parse_count(most[1])
    for fence in _FENCE.finditer(text):
        mark = _MARK.search(text[: fence.start()])
        kind, value = (mark[1], mark[2] or "") if mark else ("", "")
        body = re.sub(rf"^{fence[1]}", "", fence[3], flags=re.MULTILINE)
        line = text.count("\n", 0, fence.start()) + 2
        if kind == "not run":
            assert len(value) > 10, f"{path.name}:{line}: say why it is not run"
        elif kind == "file":
            page.steps.append((line, f"cat > {value} <<'__END'\n{body}__END", "0"))
        elif kind == "stages":
            page.plans.append(body)
        elif fence[2] == "console":
            page.steps += commands(body, line)
    return page


def commands(block: str, first_line: int) -> list[tuple[int, str, str]]:
    """(line, command, exit status) of what begins with "$ "; a backslash joins lines."""
    found: list[tuple[int, str, str]] = []
    continues = False
    for line, text in enumerate(block.splitlines(), first_line):
        if continues:
            begun, command, _ = found.pop()
            found.append((begun, f"{command}\n{text}", "0"))
        elif text.startswith("$ "):
            found.append((line, text[2:], "0"))
        continues = (continues or text.startswith("$ ")) and text.endswith("\\")
    return [
        (line, command, status[1] if (status := _STATUS.search(command)) else "0")
        for line, command, _ in found
    ]


def as_run(text: str, ports: dict[str, str], count_most: int = COUNT_MOST) -> str:
    """A command or a file as the test runs it."""
    text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda m: ports[m[1]], text)
    if AS_WRITTEN:
        return text

    def smaller(match: re.Match[str]) -> str:
        return match[0] if parse_count(match[1]) <= count_most else str(count_most)

    def shorter(match: re.Match[str]) -> str:
        is_long = parse_duration(match[2]) > SECONDS_MOST * NS_PER_S
        return match[1] + (f"{SECONDS_MOST}s" if is_long else match[2])

    text = _TIME.sub(shorter, _COUNT.sub(smaller, text))
    return _BOUND.sub(lambda m: f"{m[1]}{int(m[2]) * PATIENCE}{m[3]}", text)


def script_of(page: Page, ports: dict[str, str]) -> str:
    """The whole page for one shell."""
    hexes = " ".join(f"{int(port):04X}" for port in ports.values())
    lines = [_FUNCTIONS, f"__ports='{hexes}'", "__said=$(mktemp)"]
    for line, command, status in page.steps:
        lines.append(f"echo '@@ line {line}'")
        if command.endswith(" &"):
            lines.append("__before=$(__count $$)")
        run = as_run(command, ports, page.count_most)
        if command.endswith(" &"):
            lines += [run, f"__listens $! $__before {line}"]
        else:
            lines += [f"{{ {run}\n}} >$__said 2>&1", "__ended=$?", "cat $__said"]
            lines.append(f"__status $__ended '{status}' {line}")
    return "\n".join([*lines, "echo '@@ end'", ""])


def missing_for(page: Page) -> str:
    """Why a page cannot be run here; "" if it can."""
    commands = " ".join(command for _, command, _ in page.steps)
    words = set(re.findall(rf"\b({PROGRAMS})\b", commands))
    if "mosquitto" in words:
        program("mosquitto", "mosquitto")  # from Debian's packages, or the test is skipped
    absent = [word for word in sorted(words) if shutil.which(word) is None]
    if absent:
        return f"{', '.join(absent)} is not installed"
    if page.own_network:
        own = ["unshare", "-nm", "true"]
        if shutil.which("unshare") is None or subprocess.run(own, capture_output=True).returncode:
            return "network namespaces cannot be made here"
    return ""


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_a_page_run(name: str, tmp_path: Path) -> None:
    page = read_page(PAGES[name])
    if reason := missing_for(page):
        pytest.skip(reason)
    first = free_ports(len(PORTS))
    ports = {port: str(first + i) for i, port in enumerate(PORTS)}
    script = tmp_path / "page.sh"
    script.write_text(script_of(page, ports))
    directory = tmp_path / "here"
    directory.mkdir()
    (directory / "examples").symlink_to(ROOT / "examples")
    command = ["bash", str(script)]
    if page.own_network:  # names of namespaces are files below /run: a /run of its own
        inner = 'mount -t tmpfs none /run && ip link set lo up && exec bash "$0"'
        command = ["unshare", "-nm", "sh", "-c", inner, str(script)]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    said = tmp_path / "said"
    with said.open("w") as output:
        shell = subprocess.Popen(
            command, cwd=directory, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            status = shell.wait(PAGE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # what the page has left running, if anything
            shell.wait()
    told = said.read_text(errors="replace")
    assert status == 0 and told.endswith("@@ end\n"), f"{name}\n{told[-6000:]}"


def test_rules_of_as_run() -> None:
    ports = dict.fromkeys(PORTS, "7")
    page = "c1m load tcp://127.0.0.1:8001 --connections 100k --hold 30s --require 'p99 < 50ms'"
    run = "c1m load tcp://127.0.0.1:7 --connections 20000 --hold 1s --require 'p99 < 5000ms'"
    if not AS_WRITTEN:
        assert as_run(page, ports) == run
        assert as_run("'ramp 0..1M in 60s'", ports) == "'ramp 0..20000 in 1s'"
        assert as_run("--rate 100k/s --think 1s; 10k; 1,000", ports) == (
            "--rate 100k/s --think 1s; 10k; 1,000"
        )


# --- what must be there ----------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The names that headings of a page get."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads)
    return set(plain)


@pytest.mark.parametrize("path", LINKED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert broken == []


def test_every_page_is_found_from_the_readme() -> None:
    """By links, over any number of pages."""
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        if path in seen or not path.is_file() or path.suffix != ".md":
            continue
        seen.add(path)
        links = re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8"))
        ahead += [(path.parent / link).resolve() for link in links if "://" not in link]
    adrs = set(DOCS.glob("adr/*.md"))  # their directory is linked
    assert sorted(set(DOCS.rglob("*.md")) - seen - adrs) == []


def options_of(command: click.Command) -> list[str]:
    """--names of a command's options."""
    return [
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    ]


def test_every_option_of_load_is_explained() -> None:
    text = (DOCS / "reference" / "load.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE))
    assert named == {*options_of(load), "--help"}


def test_every_form_of_a_stage_is_explained() -> None:
    """Those of the module that reads them, and each of its words."""
    text = (DOCS / "reference" / "stages.md").read_text(encoding="utf-8")
    assert stages.__doc__ is not None
    forms = re.findall(
        r"^    ((?:ramp|hold|steps|spike|drain|st).*?)(?:  |$)", stages.__doc__, re.M
    )
    assert len(forms) >= 10
    for word, clauses in stages.CLAUSES.items():
        assert f"`{word}" in text, word
        section = text.partition(f"\n## `{word}")[2].partition("\n## ")[0]
        assert [c for c in clauses if f"`{c} " not in section] == [], word
    assert [form for form in forms if form not in text] == []


def test_plans_in_the_pages_can_be_read() -> None:
    plans = [plan for path in DOCS.rglob("*.md") for plan in read_page(path).plans]
    assert plans
    for plan in plans:
        lines = [line.partition("  #")[0].strip() for line in plan.splitlines()]
        assert parse_stages([line for line in lines if line], LoadOptions())
