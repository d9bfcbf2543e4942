"""`c1m serve APP --processes N`: the command line as each process has it, and what does not go."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from c1m.addresses import Endpoint
from c1m.apps import load_app
from c1m.cli.app_options import OPTIONS_OF, taken
from c1m.errors import UsageError

if TYPE_CHECKING:
    from c1m.server.life import Life
    from c1m.server.processes import Processes

# Options of servers whose processes share keys, and publish to the subscribers of all.
CLUSTER, RELAY = "cluster_nodes", "relay"


def several(
    app: str,
    where: Sequence[str],
    options: dict[str, Any],
    count: int,
    life: Life,
    takeover: str | None,
) -> Processes:
    """The processes; they serve. Raises UsageError."""
    from c1m.server.processes import NO_TAKEOVER, Processes

    if takeover is not None:
        raise UsageError(*NO_TAKEOVER)
    known = {option.name for option in OPTIONS_OF.get(app, ())}
    own = taken(app, options)
    if CLUSTER in known and count > 1:
        _check_cluster(app, where, own, count)
    is_cluster = CLUSTER in known and own.get(CLUSTER) is None and count > 1
    is_relayed = RELAY in known and own.get(RELAY) is None and count > 1
    # Made here, too, so that what is wrong is said once; what it keeps is each process's own.
    kept = ("data", "durability")
    looked_at = load_app(app, **{name: each for name, each in own.items() if name not in kept})
    if own.get("data"):
        _prepare_data(str(own["data"]), count)

    def app_options(number: int, places: list[Endpoint]) -> dict[str, Any]:
        if not is_cluster or not places:
            return {}
        nodes = ",".join(str(place).partition("://")[2] for place in places)
        return {CLUSTER: nodes, "cluster_node": number}

    given = {name: value for name, value in options.items() if value is not None}
    return Processes(
        looked_at, where, count=count, command=_command(), app_options=app_options,
        has_own_listeners=is_cluster, is_relayed=is_relayed, given=life.given, **given,
    )  # fmt: skip


def _check_cluster(app: str, where: Sequence[str], own: dict[str, Any], count: int) -> None:
    """Raise UsageError where the processes could not share keys out."""
    if own.get(CLUSTER) is not None:
        raise UsageError(
            f"{count} processes (--processes) are a cluster; here --cluster-nodes names another.",
            "Give one of the two: a node among several machines is one process.",
        )
    if all(url.lower().startswith(("unix://", "unix+proxy://")) for url in where):
        raise UsageError(
            f"Each of {count} processes of {app} (--processes) needs a TCP port, to which clients "
            "are sent for its keys, and there are unix sockets only (--listen).",
            "Give --listen tcp://127.0.0.1:6379, too.",
        )


def _prepare_data(directory: str, count: int) -> None:
    """A directory with one for each process. Raises UsageError where it has something else."""
    try:
        os.makedirs(directory, exist_ok=True)
        there = set(os.listdir(directory))
    except OSError as error:
        raise UsageError(
            f"The data directory {directory} cannot be used: {error.strerror}.",
            "Give --data another one.",
        ) from None
    if there and there != {str(number) for number in range(count)}:
        are_parts = there == {str(number) for number in range(len(there))}
        what = f"the data of {len(there)} processes" if are_parts else "something else in it"
        raise UsageError(
            f"The data directory {directory} has {what}, not that of {count} (--processes).",
            f"Give --processes {len(there)}." if are_parts else "Give --data another one.",
        )


def _command() -> list[str]:
    """This command line, again."""
    args: list[str] = click.get_current_context().meta["args"]
    if sys.orig_argv[-len(args) :] == args:
        return [sys.executable, *sys.orig_argv[1:]]
    return [sys.executable, "-m", "c1m", "serve", *args]  # called by a program
