"""What becomes of whom when a callback of an application raises: `on_error` of a server.

"close"  the connections whose events the callback was given are closed, with CloseReason.APP; all
         others are served on. What is concerned is the whole batch: who of it was the reason cannot
         be found by calling again one by one, because what was done before would be done twice
"stop"   the server ends: `run` raises the exception
a function  is given the Failure and returns one of these, or "keep": nobody is closed

All of them log the exception, with the connections by number and peer, and count it
(`ServerStatistics.failed`). Not caught is what is no Exception (KeyboardInterrupt, SystemExit), and
always the end is what says that c1m itself is broken: data could go to others than whom it is for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from c1m.arguments import Choice
from c1m.engine.contract import Slots
from c1m.errors import InternalError, UsageError
from c1m.units import format_count

STOP, CLOSE, KEEP = "stop", "close", "keep"
WORDS = Choice((CLOSE, STOP))
NAMED = 8  # connections that a sentence names
LISTED = 256  # that the record has as its field `connections`: a batch may be of 100,000
_OURS = ("c1m.engine.", "c1m.guard.", "c1m.kernel.", "c1m.tls.")
_ENDED = {"on_close", "on_gone"}  # callbacks about connections that have ended


@dataclass(frozen=True, slots=True)
class Failure:
    """A callback has raised: its name ("on_data"), the application that has it, the connections
    whose events it was given (int32[n], ascending), and the exception."""

    callback: str
    app: Any
    slots: Slots
    error: Exception


OnError = str | Callable[[Failure], str]


def checked(on_error: Any) -> OnError:
    """What may be given as `on_error`. Raises UsageError."""
    if callable(on_error):
        return on_error  # type: ignore[no-any-return]
    if not (isinstance(on_error, str) and on_error in WORDS.words):
        raise UsageError(
            f"on_error is {on_error!r}.",
            'Give "close", "stop", or a function of a c1m.Failure that returns one of them or '
            '"keep".',
        )
    return str(on_error)


def decide(on_error: OnError, failure: Failure) -> str:
    """STOP, CLOSE or KEEP."""
    if is_broken(failure.error):
        return STOP
    if isinstance(on_error, str):
        return on_error
    word = on_error(failure)
    if word not in (STOP, CLOSE, KEEP):
        raise UsageError(f"What on_error returned is {word!r}.", f"Return {CLOSE!r} or {STOP!r}.")
    return word


def is_broken(error: BaseException) -> bool:
    """Whether an invariant of c1m itself does not hold, and not one of the application's."""
    if isinstance(error, InternalError):
        return True
    at = error.__traceback__
    if not isinstance(error, AssertionError) or at is None:
        return False
    while at.tb_next is not None:
        at = at.tb_next
    return str(at.tb_frame.f_globals.get("__name__", "")).startswith(_OURS)


def take(failure: Failure, server: Any) -> str:
    """Count and log it: CLOSE, or KEEP where nobody is to be closed. Raises it for STOP."""
    counts = server.statistics.failed
    counts[failure.callback] = counts.get(failure.callback, 0) + 1
    word = decide(server.on_error, failure)
    if word == CLOSE and failure.callback in _ENDED:
        word = KEEP
    peers = [f"{host}:{port}" for host, port in server.peers(failure.slots[:NAMED])]
    # Where the server ends, `run` raises what has the traceback.
    shown = None if word == STOP else failure.error
    said = sentence(failure, word, peers)
    named, count = failure.slots[:LISTED].tolist(), len(failure.slots)
    server.operators.log.say(
        "failed", said, logging.ERROR, connections=named, count=count, exc_info=shown
    )
    if word == STOP:
        raise failure.error
    return word


def _text_of(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # it is a program's, too
        return "which cannot say what it is"


def sentence(failure: Failure, word: str, peers: list[str]) -> str:
    """What is logged. `peers`: of the first NAMED of its connections."""
    name, error = type(failure.app).__name__, failure.error
    said = f"{failure.callback} of {name} failed ({type(error).__name__}: {_text_of(error)})."
    if word == STOP:
        said += " The server ends."
    if not len(failure.slots):
        return said
    named = [f"{s} ({p})" for s, p in zip(failure.slots[:NAMED].tolist(), peers, strict=True)]
    more = len(failure.slots) - len(named)
    those = ", ".join(named) + (f" and {format_count(more)} more" if more else "")
    closed = " are closed" if word == CLOSE else ""
    return f"{said} Its connections{closed}: {those}."
