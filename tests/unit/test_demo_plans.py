"""What `c1m demo` asks its two processes for."""

from __future__ import annotations

import shlex

from c1m.cli.demo_plans import MESSAGE, Echoing, Pushing, command_of
from c1m.loadgen.stages import parse_stages
from c1m.results.options import LoadOptions
from c1m.scenarios.messages import Message


def test_a_message_has_64_bytes() -> None:
    for seq in range(10):
        assert len(Message(MESSAGE, 1).one(0, seq)) == 64


def test_the_plans_as_commands() -> None:
    asked = Echoing(None).asked("tcp://127.0.0.1:8001", 100)
    assert command_of(asked) == "c1m load tcp://127.0.0.1:8001 --connections 100 --hold 10s"
    words = shlex.split(command_of(Pushing(None).asked("tcp://127.0.0.1:8001", 1_000_000)))
    assert words[2] == "ws://127.0.0.1:8001/connect?channel=news"
    stages = [words[i + 1] for i, word in enumerate(words) if word == "--stage"]
    assert stages[0] == "ramp 1000001" and stages.count("stampede") == 10
    assert len(parse_stages(stages, LoadOptions())) == 12
