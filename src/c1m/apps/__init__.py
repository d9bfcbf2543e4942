"""The servers of `c1m serve`: each is a module and an entry here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from c1m.server.server import App


class Entry(NamedTuple):
    """A server: the module that has it, the class in that module, and what it does."""

    module: str
    kind: str
    help: str


APPS = {
    "echo": Entry("c1m.apps.echo", "Echo", "sends every byte back"),
}


def make_app(name: str) -> App:
    """The application of this name; its module is imported only now."""
    entry = APPS[name]
    app: App = getattr(importlib.import_module(entry.module), entry.kind)()
    return app
