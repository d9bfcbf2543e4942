"""Scenarios by name: those that are built in, and a user's own from a Python file.

Whatever is wrong with one is reported before anything is opened, in one UsageError: an option that
it has no use for, a template that means nothing, a file that cannot be run. To find that out each
is rehearsed: begun, and asked for the first request of its first and last connection, and the
replies.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from c1m.bounds import TEXT_BYTES_MAX
from c1m.errors import ScenarioError, UsageError
from c1m.protocols.resp.slots import Shards
from c1m.results.share import ALL, Stretch
from c1m.scenarios.base import Scenario
from c1m.scenarios.conversation import Conversation, Talking
from c1m.scenarios.feeders import rewind
from c1m.scenarios.http import Http
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.mistakes import described, guard, nearest
from c1m.scenarios.mix import Mix
from c1m.scenarios.placed import place
from c1m.scenarios.publish import Publish
from c1m.scenarios.redis_subscribe import RedisSubscribe
from c1m.scenarios.resp import Resp
from c1m.scenarios.templates import Echo, LengthPrefixed, Lines, Ping, ReconnectStorm, SlowReader
from c1m.scenarios.unanswered import HalfOpen, Hold

BUILT_IN = (
    Echo, Ping, Lines, LengthPrefixed, Http, Resp, Publish, RedisSubscribe, Hold, SlowReader,
    HalfOpen, ReconnectStorm,
)  # fmt: skip
SCENARIOS: dict[str, type[Scenario]] = {kind.name: kind for kind in BUILT_IN}

Talk = Callable[[int], Any]  # a generator function of a connection's number
OneScenario = str | Scenario | Conversation | Talk
AnyScenario = OneScenario | Mapping[OneScenario, int] | Sequence[OneScenario]

_files: dict[str, ModuleType] = {}  # that were run for the plan that is made


def forget_files() -> None:
    """A plan is made: each file is run once for it, whichever of its scenarios are in there."""
    _files.clear()


def find_scenario(wanted: OneScenario, **options: Any) -> Scenario:
    """A scenario to be rehearsed: by a built-in name, from "FILE.py:Name", or a user's own object.

    `options` (`message`, `expect`, `publishers`; None: not given) go to those that name them in
    their `__init__`. Raises UsageError for what there is not, and for an option without a use.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not isinstance(wanted, str):
        return own_scenario(wanted)
    if ".py" in wanted or os.sep in wanted:
        return own_scenario(_from_file(wanted, given), wanted)
    if wanted not in SCENARIOS:
        raise UsageError(
            f"There is no scenario {wanted!r}{nearest(wanted, SCENARIOS)}.",
            f"There are: {', '.join(SCENARIOS)}; or your own, as FILE.py:Name.",
        )
    kind = SCENARIOS[wanted]
    _check_options(kind, repr(wanted), given)
    return kind(**given)


def options_of(kind: type) -> list[str]:
    """The options that a scenario takes: what its `__init__` names."""
    return list(inspect.signature(kind).parameters)


def _check_options(kind: type | None, name: str, given: dict[str, Any]) -> None:
    """Raises UsageError for an option that a scenario does not take; `kind` None: takes none."""
    for option in given.keys() - (options_of(kind) if kind is not None else ()):
        takers = [n for n, built_in in SCENARIOS.items() if option in options_of(built_in)]
        advice = f"Leave it out, or use one that takes it: {', '.join(takers)}."
        if kind is None or kind not in BUILT_IN:
            advice = f"Leave it out, or give its __init__ a parameter {option!r}."
        raise UsageError(f"The scenario {name} has no use for --{option}.", advice)


# --- a user's own -------------------------------------------------------------------------------


def own_scenario(thing: Scenario | Conversation | Talk, name: str = "") -> Scenario:
    """A user's own, in either form, as the load client wants it; to be rehearsed.

    Raises UsageError for what is no scenario.
    """
    if not _is_scenario(thing) or inspect.isclass(thing):
        raise UsageError(
            f"{thing!r} is no scenario.",
            "Give a name, a c1m.Scenario, a c1m.Conversation or a generator function.",
        )
    scenario = thing if isinstance(thing, Scenario) else Talking(thing)
    if name and scenario.name == Scenario.name:
        scenario.name = name
    return guard(scenario)


def _from_file(place: str, options: dict[str, Any]) -> Any:
    """The class or function of "FILE.py:Name"; without a name the only one that the file has."""
    path, _, name = place.partition(".py")
    path += ".py"
    if name and not name.startswith(":"):
        raise UsageError(f"{place!r} is no place of a scenario.", "Write FILE.py:Name.")
    return _made(_found(_run(path), path, name[1:]), path, options)


def _run(path: str) -> ModuleType:
    """The file as a module; what stands beside it can be imported."""
    if path in _files:
        return _files[path]
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
    except UsageError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        said = f"{described(error)} (when {path} was loaded)."
        raise ScenarioError(said, "Correct the file.") from error
    _files[path] = module
    return module


def _is_scenario(thing: Any) -> bool:
    if inspect.isclass(thing):
        return issubclass(thing, Scenario | Conversation)
    return inspect.isgeneratorfunction(thing) or isinstance(thing, Scenario | Conversation)


def _found(module: ModuleType, path: str, name: str) -> Any:
    """The scenario of that name in a file; without a name the only one that it has."""
    there = {
        known: thing
        for known, thing in vars(module).items()
        if not known.startswith("_")
        and _is_scenario(thing)
        and getattr(thing, "__module__", module.__name__) == module.__name__
    }
    names = ", ".join(there)
    if not name and len(there) == 1:
        return next(iter(there.values()))
    if not name and not there:
        raise UsageError(
            f"{path} has no scenarios.", "Derive one from c1m.Scenario or c1m.Conversation."
        )
    if not name:
        raise UsageError(
            f"{path} has {len(there)} scenarios: {names}.",
            f"Say which, as in {path}:{next(iter(there))}.",
        )
    thing = getattr(module, name, None)
    if thing is None:
        raise UsageError(
            f"{path} has no {name!r}{nearest(name, there)}.",
            f"It has: {names}." if there else "It has no scenario at all.",
        )
    if not _is_scenario(thing):
        raise UsageError(
            f"{name} in {path} is no scenario.",
            "It has to be a c1m.Scenario, a c1m.Conversation or a generator function.",
        )
    return thing


def _made(found: Any, path: str, options: dict[str, Any]) -> Any:
    """What was found, made if it is a class: with the options that its `__init__` names."""
    kind = found if inspect.isclass(found) else None
    _check_options(kind, getattr(found, "__name__", path), options)
    if kind is None:
        return found
    try:
        return kind(**options)
    except UsageError:
        raise
    except Exception as error:
        said = f"{described(error)} (when {kind.__name__} was made)."
        raise ScenarioError(said, "It is made without arguments.") from error


# --- the rehearsal ------------------------------------------------------------------------------


def rehearse(
    scenario: Scenario, connections: int, seed: int, pipeline: int = 1, stretch: Stretch = ALL
) -> int:
    """Begin a scenario, and see that it can say and hear something; then begin it afresh.

    `stretch`: which connections of a whole run they are, of which others do a part.
    Returns about how many bytes a request has. Raises UsageError.
    """
    if pipeline > 1 and scenario.takes_turns:
        raise UsageError(
            f"The scenario {scenario.name!r} has at most one request in flight on a connection.",
            "Leave --pipeline out.",
        )
    parts = scenario.parts if isinstance(scenario, Mix) else [scenario]
    for each in dict.fromkeys([*parts, scenario]):
        place(each, stretch)
    rewind(seed, stretch)
    scenario.begin(connections, seed)
    size = max(1 if each.is_silent else _say_and_hear(each, connections) for each in parts)
    rewind(seed, stretch)
    scenario.begin(connections, seed)
    return size


def tell(scenario: Scenario, shards: Shards) -> None:
    """Tell a scenario of which cluster its targets are."""
    parts = scenario.parts if isinstance(scenario, Mix) else []
    for each in dict.fromkeys([*parts, scenario]):
        each.session = replace(each.session, shards=shards)


def _say_and_hear(scenario: Scenario, connections: int) -> int:
    """The first and the last connection that may speak, and the replies; bytes of a request."""
    name, exchange = scenario.name, exchange_of(scenario, connections, 1)
    numbers = np.unique([0, connections - 1])
    numbers = numbers[exchange.is_free(numbers)]
    if not len(numbers):
        return 1  # nobody speaks in this part
    said, seqs = exchange.requests(numbers)  # that they are pieces at all is seen to by `guard`
    if scenario.has_replies():
        right = scenario.which_right(numbers, seqs, scenario.replies(numbers, seqs))
        if not isinstance(right, np.ndarray) or right.shape != numbers.shape or not right.all():
            raise ScenarioError(
                f"{name}: which_right does not call right what replies returns: {right!r}.",
                "It must return bool[n].",
            )
    elif not (scenario.wants_end or scenario.judges()):
        raise ScenarioError(
            f"{name} does not say which replies are right.",
            "Give it replies(numbers, seqs), or accepts and frame.",
        )
    return max(int(said.lengths.max()), 1)  # some only wait
