"""A fleet over MQTT: vehicles say where they are, a control room listens and gives commands.

Shows   topics, messages that come by themselves (`heard`), last wills, two kinds of clients.
Needs   a broker: mosquitto, EMQX, ...
Try it  mosquitto -p 1883 &
        c1m load mqtt://127.0.0.1 --qos 1 --will 'fleet/{n}/lost=gone' \
            --scenario examples/fleet.py:Vehicle=49 --scenario examples/fleet.py:Control \
            --stage 'ramp 500' --stage 'hold for 5s at 500/s' --stage 'storm 10%' \
            --stage 'hold for 5s at 500/s'
"""

import itertools
import json
import random
from collections.abc import Generator
from typing import Any

import c1m

Talk = Generator[c1m.Subscribe | c1m.Publish, Any, None]


class Vehicle(c1m.Conversation):
    """Says where it is, again and again; hears commands that are for it."""

    def talk(self, n: int) -> Talk:
        yield c1m.Subscribe(f"fleet/{n}/command", qos=1)
        for at in itertools.count(1):
            yield c1m.Publish(f"fleet/{n}/position", json.dumps({"at": at}))

    def heard(self, n: int, message: c1m.MqttMessage) -> bool:
        c1m.check("commands reach one vehicle", message.text == f"stop {n}", f"{n}: {message}")
        return True


class Control(c1m.Conversation):
    """Hears of every vehicle: each position in order, and of each one that is lost."""

    def begin(self, connections: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.known: dict[int, dict[int, int]] = {}  # by control room: the last position of each

    def talk(self, n: int) -> Talk:
        known = self.known[n] = {}
        yield c1m.Subscribe("fleet/+/lost", qos=1)
        yield c1m.Subscribe("fleet/+/position", qos=1)
        while True:
            vehicle = self.random.choice(list(known) or [0])
            yield c1m.Publish(f"fleet/{vehicle}/command", f"stop {vehicle}")

    def heard(self, n: int, message: c1m.MqttMessage) -> bool:
        known = self.known[n]
        _, name, what = message.topic.split("/")
        vehicle = int(name)
        if what == "lost":
            known.pop(vehicle, None)  # it begins anew
        else:
            at = message.json()["at"]
            due = known.get(vehicle, at - 1) + 1
            c1m.check("positions in order", at == due, f"{vehicle} is at {at}, {due} was due")
            known[vehicle] = at
        return True
