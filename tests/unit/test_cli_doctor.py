"""`c1m doctor` as a user meets it, on a made-up machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from c1m.cli.doctor import doctor
from c1m.errors import UsageError
from c1m.kernel import procfs
from c1m.limits import fixes, forecast
from c1m.limits.limit import Situation

MACHINE = Situation(
    kernel=(6, 18),
    sysctls={
        "fs.nr_open": "1048576",
        "fs.file-max": "4194304",
        "fs.epoll.max_user_watches": "5491511",
        "net.core.somaxconn": "4096",
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.tcp_max_syn_backlog": "2048",
        "net.ipv4.tcp_mem": "287898 383867 575796",
        "net.ipv4.tcp_rmem": "4096 131072 33554432",
        "net.ipv4.tcp_wmem": "4096 16384 4194304",
    },
    nofile=(1024, 20_000),
    memory_available_bytes=23 << 30,
    uring_errno=0,
    has_ipc_lock=True,
)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A made-up machine: its situation, and a tree for what `--fix` writes."""
    monkeypatch.setattr(forecast, "read_situation", lambda: MACHINE)
    monkeypatch.setenv(fixes.STATE_DIR_VARIABLE, str(tmp_path / "state"))
    for function in ("plan", "apply", "revert"):
        real = getattr(fixes, function)

        def on_tree(*args: object, real: object = real) -> object:
            return real(*args, tmp_path)  # type: ignore[operator]

        monkeypatch.setattr(fixes, function, on_tree)
    for name, value in {
        "net.core.somaxconn": "4096",
        "net.ipv4.tcp_max_syn_backlog": "2048",
        "net.ipv4.ip_local_reserved_ports": "",
        "net.ipv4.ip_local_port_range": "32768\t60999",
    }.items():
        path = tmp_path / procfs.sysctl_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(doctor, arguments)


def test_it_fits() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert "1,000,000 connections fit on this machine" in result.output
    assert "\x1b" not in result.output


def test_it_does_not_fit() -> None:
    result = run("--engine", "epoll", "--connections", "50k")
    assert result.exit_code == 1
    assert "nofile (hard) allows only 19,935 of the 50,000 connections." in result.output
    assert "To fix it:" in result.output


def test_json() -> None:
    result = run("--json", "--role", "server", "--listen", "tcp://0.0.0.0:8001-8003")
    content = json.loads(result.output)
    assert (content["verdict"], content["request"]["listen_ports"]) == ("ok", [8001, 8002, 8003])
    assert content["fits"] >= 1_000_000
    assert {"name", "verdict", "needed", "have", "remedy", "fits"} <= set(content["findings"][0])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--connections", "0"],
        ["--connections", "many"],
        ["--sources", "0"],
        ["--listen", "udp://127.0.0.1:1"],
        ["--listen", "tcp://127.0.0.1:9-8"],
        ["--listen", "tcp://127.0.0.1:0"],
        ["--listen", "tcp://127.0.0.1:70000"],
        ["--listen", "unix:///run/x"],
        ["--yes"],
        ["--fix", "--revert"],
    ],
)
def test_bad_usage_is_a_usage_error(arguments: list[str]) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, UsageError)
    assert result.exception.remedy


@pytest.mark.parametrize("arguments", [["--role", "x"], ["--engine", "x"], ["--no-such"]])
def test_what_click_refuses_has_status_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_only_ipv4_loopback_has_sources_by_itself() -> None:
    arguments = ["--role", "client", "--connections", "50k", "--listen"]
    assert run(*arguments, "tcp://127.0.0.1:1").exit_code == 0
    assert run(*arguments, "tcp://[::1]:1").exit_code == 1
    assert run(*arguments, "tcp://192.0.2.1:1").exit_code == 1
    assert run(*arguments, "tcp://192.0.2.1:1", "--sources", "4").exit_code == 0
    assert run(*arguments, "tcp://192.0.2.1:1-4").exit_code == 0


def test_fix_shows_and_does_nothing(machine: Path) -> None:
    result = run("--fix", "--role", "server", "--listen", "tcp://0.0.0.0:40000")
    assert "Would change" in result.output
    assert "net.core.somaxconn: 4096 -> 65535" in result.output
    assert "net.ipv4.ip_local_reserved_ports: (empty) -> 40000" in result.output
    assert procfs.read_sysctl("net.core.somaxconn", machine) == "4096"
    assert not (machine / "state").exists()


def test_fix_yes_and_revert(machine: Path) -> None:
    result = run("--fix", "--yes", "--role", "server")
    assert result.exit_code == 0, result.output
    assert "c1m doctor --revert" in result.output
    assert procfs.read_sysctl("net.core.somaxconn", machine) == "65535"
    result = run("--revert")
    assert result.exit_code == 0
    assert "net.core.somaxconn: restored to 4096" in result.output
    assert procfs.read_sysctl("net.core.somaxconn", machine) == "4096"
    assert "nothing to undo" in run("--revert").output


def test_revert_reports_what_somebody_else_changed(machine: Path) -> None:
    run("--fix", "--yes", "--role", "server")
    (machine / procfs.sysctl_path("net.core.somaxconn")).write_text("5\n")
    result = run("--revert")
    assert result.exit_code == 1
    assert "left as it is (5)" in result.output
    assert "doctor-revert.json" in result.output


def test_fix_names_what_has_to_be_done_by_hand() -> None:
    result = run("--fix", "--engine", "epoll")
    assert result.exit_code == 1
    assert "By hand:" in result.output
    assert "LimitNOFILE=1000065" in result.output


def test_fix_as_json() -> None:
    content = json.loads(run("--fix", "--role", "server", "--json").output)
    assert content["applied"] is False
    assert content["changes"][0]["sysctl"] == "net.core.somaxconn"


def test_sysctl_prints_a_file() -> None:
    output = run("--sysctl", "--role", "server").output
    assert output.startswith("# c1m doctor: 1,000,000 connections")
    assert "\nnet.core.somaxconn = 65535\n" in output
