"""The servers of `c1m serve`: each is a module and an entry here; a user's own have names, too."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from typing import Any, NamedTuple

from c1m.errors import UsageError


class AppEntry(NamedTuple):
    """A server: where its class is, and what it does."""

    place: str
    help: str
    options: str = ""  # the module of its OPTIONS, and of LISTEN, where it listens if not told


APPS = {
    "echo": AppEntry("c1m.apps.echo:Echo", "sends every byte back"),
    "kv": AppEntry(
        "c1m.apps.kv.app:KeyValue",
        "a key-value store that Redis clients talk to",
        "c1m.apps.kv.options",
    ),
    "push": AppEntry(
        "c1m.apps.push.push:Push",
        "publishes to browsers, by WebSocket and server-sent events",
        "c1m.apps.push.options",
    ),
}
NAMES = f"{', '.join(APPS)}, or MODULE:NAME"


def load_app(name: str, **options: Any) -> Any:
    """The server of this name, or what "module:name" says: an App, or what makes protocols.

    `options` are what it is made with.

    Its module is imported only now, also from the current directory. A class of applications is
    made. Raises UsageError for what is not there.
    """
    if name in APPS:
        name = APPS[name].place
    module_name, _, path = name.partition(":")
    if module_name.endswith(".py"):
        raise UsageError(
            f"{name!r} names a file.", f"Name the module: {module_name[:-3]}:{path or 'NAME'}."
        )
    if not (
        path and all(part.isidentifier() for part in (*module_name.split("."), *path.split(".")))
    ):
        raise UsageError(
            f"There is no server {name!r}.",
            f"Choose from: {NAMES} (an App, or a class or a factory of asyncio protocols).",
        )
    found: Any = _module(module_name)
    for part in path.split("."):
        there = found
        found = getattr(there, part, None)
        if found is None:
            near = difflib.get_close_matches(part, dir(there), n=1)
            raise UsageError(
                f"{module_name} has no {path!r}.",
                f"Did you mean {near[0]!r}?" if near else "Check its spelling.",
            )
    return _made(found, name, options)


def _module(name: str) -> Any:
    folder = os.getcwd()
    if folder not in sys.path:  # as for `python -m`
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"There is no module {error.name!r} here.",
                "Run this in the directory that has it, or install it.",
            ) from None
        said = str(error)
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
    raise UsageError(f"{name} cannot be imported ({said}).", "Correct it.")


def _made(found: Any, name: str, options: dict[str, Any]) -> Any:
    """The object of an application's class; else what was found."""
    from c1m.server.server import App, Makes

    is_own = any(name == entry.place for entry in APPS.values())
    if not (is_own or (inspect.isclass(found) and issubclass(found, App | Makes))):
        return found
    try:
        return found(**options)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{name} cannot be made ({type(error).__name__}: {error}).",
            "It is made without arguments; name an object instead, which may have them.",
        ) from error
