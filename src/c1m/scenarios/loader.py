"""Scenarios by name: those that are built in, and a user's own out of a Python file.

Whatever is wrong with one is told before anything is opened, in one UsageError: an option that it
has no use for, a template that means nothing, a file that cannot be run. To find that out each is
rehearsed: begun, and asked for the first request of connection 0 and its reply.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from c1m.bounds import TEXT_BYTES_MAX
from c1m.errors import ScenarioError, UsageError
from c1m.scenarios.base import DEFAULT_MESSAGE, Hold, Scenario, Templates
from c1m.scenarios.conversation import Conversation, Talking, told
from c1m.scenarios.guarded import Guarded, check_pieces
from c1m.scenarios.misbehaving import HALF_MESSAGE, SLOW_MESSAGE, HalfOpen, SlowReader
from c1m.scenarios.publish import PUBLICATION, Publish
from c1m.scenarios.resp import Resp

Text = str | bytes

SCENARIOS = {
    "hold": "says nothing: connections are only held",
    "echo": "each message comes back as it was sent",
    "ping": "a fixed request and the reply to it, here PING and +PONG",
    "lines": "an echo of lines: each reply ends where its line ends",
    "length-prefixed": "an echo of messages with their length before them, in 4 bytes, big-endian",
    "resp": "SET and GET of a key of its own, INCR of a counter shared by all (Redis's protocol)",
    "publish": "one connection publishes, all of them should receive it",
    "slow-reader": "sends as echo does, and reads nothing before the last stage is over",
    "half-open": "says half of a request and waits for the server to end the connection",
}
SAY_NOTHING = ("hold", "resp")  # with words of the user's
EXPECT_NOTHING = ("hold", "echo", "resp", "half-open")
ONE_AT_A_TIME = ("hold", "half-open")


def make_scenario(
    name: str,
    *,
    message: Text | None = None,
    expect: Text | None = None,
    connections: int = 1,
    seed: int = 0,
    pipeline: int = 1,
    publishers: int | None = None,
    to_publisher: bool | None = None,
) -> Scenario:
    """A scenario begun for so many connections, rehearsed: a built-in name, or "FILE.py:Name".

    `message`, `expect`: templates (str), or bytes as they are; None: the scenario's own.
    `publishers`, `to_publisher`: of "publish" only. Raises UsageError (one sentence, and for a
    user's file with file and line) for whatever cannot be done.
    """
    if ".py" in name or os.sep in name:
        scenario = load_scenario(name, message=message, expect=expect)
    elif name not in SCENARIOS:
        raise UsageError(
            f"There is no scenario {name!r}{_nearest(name, SCENARIOS)}.",
            f"There are: {', '.join(SCENARIOS)}; or your own, as FILE.py:Name.",
        )
    else:
        _check_options(name, message, expect, pipeline)
        scenario = _built_in(name, message, expect, publishers, to_publisher)
    if name != "publish" and (publishers is not None or to_publisher is not None):
        raise UsageError(f"The scenario {name!r} has no publishers.", "Only publish has.")
    rehearse(scenario, connections, seed)
    if isinstance(scenario, Guarded) and scenario.takes_turns and pipeline > 1:
        raise UsageError(
            f"{name} waits for each reply before it says more, so {pipeline} requests at once "
            "cannot be.",
            "Leave --pipeline out.",
        )
    return scenario


def _check_options(name: str, message: Text | None, expect: Text | None, pipeline: int) -> None:
    if message is not None and name in SAY_NOTHING:
        raise UsageError(
            f"The scenario {name!r} has no use for a message.",
            "Leave --message out, or use ping or echo.",
        )
    if expect is not None and name in EXPECT_NOTHING:
        remedy = "Use ping for a reply that is not the message." if name == "echo" else ""
        raise UsageError(
            f"The scenario {name!r} has no use for an expected reply.",
            remedy or "Leave --expect out.",
        )
    if name == "ping" and (message is None) != (expect is None):
        given, other = ("--expect", "--message") if message is None else ("--message", "--expect")
        raise UsageError(
            f"The scenario 'ping' was given {given} without {other}.",
            "Give both: the request and its reply.",
        )
    if pipeline > 1 and name in ONE_AT_A_TIME:
        raise UsageError(
            f"The scenario {name!r} has at most one request on a connection.",
            "Leave --pipeline out.",
        )


def _built_in(
    name: str, message: Text | None, expect: Text | None, publishers: int | None,
    to_publisher: bool | None,
) -> Scenario:  # fmt: skip
    if name == "hold":
        return Hold()
    if name == "resp":
        return Resp()
    if name == "half-open":
        return HalfOpen(HALF_MESSAGE if message is None else message)
    if name == "slow-reader":
        return SlowReader(SLOW_MESSAGE if message is None else message, expect)
    if name == "publish":
        said = PUBLICATION if message is None else message
        return Publish(said, expect, publishers=publishers or 1, to_publisher=to_publisher)
    if name == "ping" and message is None:
        message, expect = "PING\r\n", "+PONG\r\n"
    request: Text = DEFAULT_MESSAGE if message is None else message
    if name == "lines":
        request, reply = _line(request), _line(request if expect is None else expect)
        return Templates(name, request, reply, by_line=True)
    reply = request if expect is None else expect
    return Templates(name, request, reply, prefix=4 if name == "length-prefixed" else 0)


def _line(text: Text) -> Text:
    """With its newline, which nobody types. Raises UsageError for more than one line."""
    end, both = ("\n", "\r\n") if isinstance(text, str) else (b"\n", b"\r\n")
    if text.rstrip(both).count(end):  # type: ignore[arg-type]
        raise UsageError(
            "The message has several lines; each would have a reply of its own.",
            "Use one line, or echo for messages of any form.",
        )
    return text if text.endswith(end) else text + end  # type: ignore[operator,arg-type]


# --- a user's own -------------------------------------------------------------------------------


def load_scenario(place: str, *, message: Text | None, expect: Text | None) -> Scenario:
    """The class or function of "FILE.py:Name"; without a name the only one that the file has."""
    path, _, name = place.partition(".py")
    path += ".py"
    if name and not name.startswith(":"):
        raise UsageError(f"{place!r} is no place of a scenario.", "Write FILE.py:Name.")
    module = _run(path)
    found = _named(module, path, name[1:]) if name[1:] else _only(module, path)
    options = {"message": message, "expect": expect}
    made = _made(found, path, {k: v for k, v in options.items() if v is not None})
    return own_scenario(made, place)


def own_scenario(thing: Scenario | Conversation | Callable[[int], Any], name: str = "") -> Scenario:
    """A user's own, in either form, as the generator wants it; to be rehearsed.

    Raises UsageError for what is no scenario.
    """
    if isinstance(thing, Guarded):
        return thing
    if not _is_scenario(thing) or inspect.isclass(thing):
        raise UsageError(
            f"{thing!r} is no scenario.",
            "Give a name, a c1m.Scenario, a c1m.Conversation or a generator function.",
        )
    scenario = thing if isinstance(thing, Scenario) else Talking(thing)
    if name and scenario.name == Scenario.name:
        scenario.name = name
    return Guarded(scenario)


def _run(path: str) -> ModuleType:
    """The file as a module; what stands beside it can be imported."""
    if not os.path.isfile(path):
        raise UsageError(f"There is no file {path}.", "Name a Python file, as in my_test.py:Shop.")
    if os.path.getsize(path) > TEXT_BYTES_MAX:
        raise UsageError(f"{path} has more than {TEXT_BYTES_MAX:,} bytes.", "Name a Python file.")
    name = "c1m_scenario_" + os.path.basename(path).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ScenarioError(f"{told(error)} (when {path} was loaded).", "Mend the file.") from error
    return module


def _is_scenario(thing: Any) -> bool:
    if inspect.isclass(thing):
        return issubclass(thing, Scenario | Conversation)
    return inspect.isgeneratorfunction(thing) or isinstance(thing, Scenario | Conversation)


def _of(module: ModuleType) -> dict[str, Any]:
    """The scenarios that a file itself has, by name."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and _is_scenario(thing)
        and getattr(thing, "__module__", module.__name__) == module.__name__
    }


def _named(module: ModuleType, path: str, name: str) -> Any:
    thing = getattr(module, name, None)
    if thing is None:
        there = _of(module)
        raise UsageError(
            f"{path} has no {name!r}{_nearest(name, there)}.",
            f"It has: {', '.join(there)}." if there else "It has no scenario at all.",
        )
    if not _is_scenario(thing):
        raise UsageError(
            f"{name} in {path} is no scenario.",
            "It has to be a c1m.Scenario, a c1m.Conversation or a generator function.",
        )
    return thing


def _only(module: ModuleType, path: str) -> Any:
    there = _of(module)
    if len(there) != 1:
        raise UsageError(
            f"{path} has {len(there) or 'no'} scenarios{': ' if there else ''}{', '.join(there)}.",
            f"Say which, as in {path}:{next(iter(there))}."
            if there
            else "Derive one from c1m.Scenario or c1m.Conversation.",
        )
    return next(iter(there.values()))


def _made(
    found: Any, path: str, options: dict[str, Text]
) -> Scenario | Conversation | Callable[[int], Any]:
    """What was found, made if it is a class: with the options that its `__init__` names."""
    takes = inspect.signature(found).parameters if inspect.isclass(found) else {}
    for option in options:
        if option not in takes:
            raise UsageError(
                f"The scenario {getattr(found, '__name__', path)} has no use for --{option}.",
                f"Leave it out, or give its __init__ a parameter {option!r}.",
            )
    make: Callable[..., Any] = found if inspect.isclass(found) else lambda: found
    try:
        made: Scenario | Conversation | Callable[[int], Any] = make(**options)
        return made
    except UsageError:
        raise
    except Exception as error:
        said = f"{told(error)} (when {found.__name__} was made)."
        raise ScenarioError(said, "It is made without arguments.") from error


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?"[:-1] if near else ""


# --- the rehearsal ------------------------------------------------------------------------------


def rehearse(scenario: Scenario, connections: int, seed: int) -> None:
    """Begin a scenario, and see that it can say and hear something; then begin it afresh.

    Raises UsageError.
    """
    scenario.begin(connections, seed)
    if scenario.is_silent:
        return
    takes_turns = isinstance(scenario, Guarded) and scenario.takes_turns
    if takes_turns:
        scenario.exchange(connections, 1).requests(np.array([0]))
    else:
        _rehearse_batch(scenario, min(connections, 2))
    scenario.begin(connections, seed)


def _rehearse_batch(scenario: Scenario, count: int) -> None:
    name = scenario.name
    numbers, seqs = np.arange(count), np.zeros(count, np.int64)
    check_pieces(name, "requests", scenario.requests(numbers, seqs), count)
    if scenario.wants_end:
        return
    if scenario.has_replies():
        replies = scenario.replies(numbers, seqs)
        check_pieces(name, "replies", replies, count)
        right = scenario.which_right(numbers, seqs, replies)
        if not isinstance(right, np.ndarray) or right.shape != (count,) or not right.all():
            raise ScenarioError(
                f"{name}: which_right does not call right what replies returns: {right!r}.",
                "It is to return bool[n].",
            )
    elif not scenario.judges():
        raise ScenarioError(
            f"{name} does not say which replies are right.",
            "Give it replies(numbers, seqs), or accepts and frame.",
        )
