"""What the key-value server may be told, as arguments and as options of `c1m serve kv`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from c1m.apps.kv.app import KeyValue
from c1m.apps.kv.options import OPTIONS, POLICIES, KeyValueOptions
from c1m.cli.app_options import own_options
from c1m.cli.serve import serve
from c1m.errors import UsageError
from c1m.files import secret_line
from c1m.guard.options import OPTIONS as LIMIT_OPTIONS
from c1m.kv import memory

UNSET = {option.name: None for option in OPTIONS}
LIMITS = {option.name for option in LIMIT_OPTIONS}


def test_the_table_and_the_arguments_are_the_same() -> None:
    fields = [field.name for field in dataclasses.fields(KeyValueOptions) if field.init]
    assert fields == [option.name for option in OPTIONS]
    assert memory.POLICIES == POLICIES


def test_texts_and_numbers() -> None:
    options = KeyValueOptions(max_memory="1G", idle_timeout=2.5, max_clients="1M", max_value=4096)
    assert (options.max_memory, options.max_clients) == (1 << 30, 1_000_000)
    assert (options.idle_timeout, options.max_value) == (2_500_000_000, 4096)
    assert KeyValueOptions().max_memory is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"durability": "no"}, "A durability without a data directory"),
        ({"max_memory_policy": "allkeys-lru"}, "A policy of what to evict means nothing"),
        ({"max_memory": 0, "max_memory_policy": "allkeys-lru"}, "A policy of what to evict"),
        ({"max_memory": 1, "max_memory_policy": "lru"}, "max_memory_policy is 'lru'"),
        ({"password": "x", "password_file": "y"}, "A password and a file of it are given"),
        ({"password": ""}, "The password is empty"),
        ({"data": ""}, "The data directory has no name"),
        ({"idle_timeout": "10ms"}, "The idle timeout is below a second"),
        ({"idle_timeout": "13h"}, "too large for idle_timeout"),
        ({"max_value": 100}, "too small for max_value"),
        ({"max_clients": 0}, "too small for max_clients"),
        ({"data": "d", "durability": "maybe"}, "durability is 'maybe'"),
        ({"data": 5}, "data is 5, no text"),
    ],
)
def test_what_cannot_be_meant(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        KeyValue(**given)


def test_a_password_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    with pytest.raises(UsageError, match="cannot be read"):
        secret_line(str(path))
    path.write_text("secret \nnot this\n")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="everybody may read it") as refused:
        secret_line(str(path))
    assert f"chmod 600 {path}" in str(refused.value)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="its group may read it"):
        KeyValue(password_file=str(path))
    path.chmod(0o600)
    assert KeyValue(password_file=str(path)).options.password == "secret "
    for text in ("g\u00e9", "\u043f\u0430\u0440\u043e\u043b\u044c", "\udcff"):
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        said = KeyValue(password_file=str(path)).options.password
        assert said == KeyValue(password=text).options.password
        said.encode("latin-1")  # as AUTH compares it
    path.write_bytes(b"\n")
    with pytest.raises(UsageError, match="no password in its first line"):
        secret_line(str(path))


def test_they_are_options_of_the_command_and_of_no_other_server() -> None:
    help_of_kv = CliRunner().invoke(serve, ["kv", "--help"]).output
    help_of_all = CliRunner().invoke(serve, ["--help"]).output
    assert "Options of kv:" in help_of_kv
    assert "kv has further options: c1m serve kv --help" in help_of_all
    for option in OPTIONS:
        assert f"  {option.flag} " in help_of_kv
        is_limit = option.name in LIMITS  # of every server; kv means its own
        assert (f"  {option.flag} " in help_of_all) == is_limit
    options = {**UNSET, "max_memory": "1G", "backlog": 5}
    assert own_options("kv", options) == {"max_memory": "1G"}
    assert options == {"backlog": 5}
    with pytest.raises(UsageError, match="--max-memory is an option of kv, not of echo"):
        own_options("echo", {**UNSET, "max_memory": "1G"})


def test_a_server_that_has_no_place_of_its_own_is_told_one() -> None:
    said = CliRunner().invoke(serve, ["echo"]).exception
    assert isinstance(said, UsageError)
    assert "Give --listen URL" in str(said)
    refused = CliRunner().invoke(serve, ["kv", "--max-memory", "1x"]).exception
    assert str(refused).startswith("--max-memory: '1x' is not a size.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kv", "--port", "6379"], "There is no --port. Write --listen tcp://127.0.0.1:PORT."),
        (["kv", "-p", "6379"], "There is no -p. Write --listen tcp://127.0.0.1:PORT."),
        (["redis"], "There is no server 'redis'."),
    ],
)
def test_what_those_write_who_know_redis_server(words: list[str], said: str) -> None:
    result = CliRunner().invoke(serve, words)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(said)
