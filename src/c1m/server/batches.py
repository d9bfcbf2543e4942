"""What an application's callbacks are given, and what makes an application. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged

Int32s = npt.NDArray[np.int32]


@dataclass(slots=True)
class _Batch:
    slots: Slots

    def __len__(self) -> int:
        return len(self.slots)


@dataclass(slots=True)
class DataBatch(_Batch):
    """Bytes that came: piece i of `data` is from `slots[i]`.

    A slot may appear several times; its pieces are in order. Valid until the callback returns: copy
    what you keep (`data.pieces()`, `data.packed()`).
    """

    data: Ragged


@dataclass(slots=True)
class OpenBatch(_Batch):
    """Connections that were accepted: `slots` int32[n], `listeners` int32[n] (their index)."""

    listeners: Int32s


@dataclass(slots=True)
class CloseBatch(_Batch):
    """Connections that ended: `slots` int32[n], `reasons` uint8[n] (CloseReason).

    Connections that the application closed itself are not reported; those that the server closes
    when it stops are, as DRAIN.
    """

    reasons: npt.NDArray[np.uint8]


class Makes:
    """An application of another form (c1m.WebSocketApp); it makes the one that a server calls."""

    def as_app(self) -> Any:
        """A new one for each server."""
        raise NotImplementedError
