"""An application: a few callbacks, each for a whole batch."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError

if TYPE_CHECKING:
    from c1m.server.server import Server

Slots = npt.NDArray[np.int32]


@dataclass(slots=True)
class DataBatch:
    """Bytes that came: piece i of `data` is from `slots[i]`.

    A slot may appear several times; its pieces are in order. Valid until the callback returns: copy
    what you keep (`data.pieces()`, `data.packed()`).
    """

    slots: Slots
    data: Ragged

    def __len__(self) -> int:
        return len(self.slots)


@dataclass(slots=True)
class OpenBatch:
    """Connections that were accepted: `slots` int32[n], `listeners` int32[n] (their index)."""

    slots: Slots
    listeners: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.slots)


@dataclass(slots=True)
class CloseBatch:
    """Connections that ended: `slots` int32[n], `reasons` uint8[n] (CloseReason).

    Connections that the application closed itself are not reported; those that the server closes
    when it stops are, as DRAIN.
    """

    slots: Slots
    reasons: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.slots)


class App:
    """An application on a server: override what you need.

    A connection is a slot, an int32 row number. It stays the same until `on_close` (or until the
    application itself closes it); then it may be given to a new connection. Arrays with one row a
    slot (`np.zeros(server.capacity)`) are the natural place for a connection's state: they cost
    memory only where they are touched.
    """

    def on_start(self, server: Server) -> None:
        """The server listens; nothing has come yet."""

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        """Connections were accepted."""

    def on_data(self, batch: DataBatch, server: Server) -> None:
        """Bytes came."""

    def on_eof(self, slots: Slots, server: Server) -> None:
        """The peers of these slots will send no more. The default closes, after the output."""
        server.close(slots)

    def on_blocked(self, slots: Slots, server: Server) -> None:
        """Unsent output is over the high watermark: these are not read from until it has drained.

        What is sent to them nevertheless is kept in memory.
        """

    def on_drained(self, slots: Slots, server: Server) -> None:
        """Their output has fallen to the low watermark: they are read from again."""

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        """Connections ended, by an error or because the server stops."""

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        """Last in every tick, and at least every 100 ms; `now_ns` is monotonic.

        May return the time (as `now_ns`) at which to call it at the latest, if that is sooner.
        """
        return None

    def on_stop(self, server: Server) -> None:
        """The server is stopping: connections are still open, and closed next."""


def check_app(app: Any) -> None:
    """Raise UsageError for what is not an App, and for a callback that cannot be called.

    Without this a callback that is a coroutine function would be called, and nothing would happen.
    """
    if isinstance(app, type) and issubclass(app, App):
        raise UsageError(f"{app.__name__} is a class.", f"Pass an object: {app.__name__}().")
    if not isinstance(app, App):
        raise UsageError(
            f"{app!r} is neither a c1m.App nor an asyncio.Protocol class.",
            "Pass an object whose class derives from c1m.App; c1m.serve takes protocols, too.",
        )
    for name in (name for name in vars(App) if name.startswith("on_")):
        callback = getattr(app, name)
        if not callable(callback):
            raise UsageError(f"{type(app).__name__}.{name} cannot be called.", "Make it a method.")
        if inspect.iscoroutinefunction(callback):
            raise UsageError(
                f"{type(app).__name__}.{name} is a coroutine function, which nobody would await.",
                "Write def, not async def.",
            )
