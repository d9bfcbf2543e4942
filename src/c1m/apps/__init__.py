"""The servers of `c1m serve`: each is a module and an entry here."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from c1m.server.server import App


class AppEntry(NamedTuple):
    """A server: where its class is, and what it does."""

    place: str
    help: str


APPS = {
    "echo": AppEntry("c1m.apps.echo:Echo", "sends every byte back"),
}


def make_app(name: str) -> App:
    """The application of this name; its module is imported only now."""
    app: App = pkgutil.resolve_name(APPS[name].place)()
    return app
