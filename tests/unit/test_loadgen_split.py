"""A run split into parts: plans, texts, files of rows, addresses; without a socket."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import c1m
from c1m.addresses import AF_INET, Endpoint
from c1m.errors import ScenarioError
from c1m.loadgen.outline import outline
from c1m.loadgen.plan import LoadPlan, make_plan
from c1m.loadgen.sources import AddressPlan, plan_addresses
from c1m.results.options import checked
from c1m.results.share import Share, Stretch, shares_of
from c1m.scenarios.feeders import feeder
from c1m.scenarios.loader import rehearse


def plans(of: int, **given: object) -> list[LoadPlan]:
    """A plan for each part; of=1: the whole."""
    options = checked({"target": "tcp://127.0.0.1:1"} | given)
    return [make_plan(options, Share(index, of)) for index in range(of)]


def said(plan: LoadPlan, seq: int = 0) -> list[bytes]:
    """What its connections say."""
    count = plan.asked.connections
    numbers = np.arange(count)
    return plan.scenario.requests(numbers, np.full(count, seq)).pieces()


def all_said(of: int, **given: object) -> list[bytes]:
    """What all connections of all parts say."""
    return [text for plan in plans(of, **given) for text in said(plan)]


@pytest.mark.parametrize(
    "given",
    [
        {"message": "client {n} says {random:8}\n"},
        {"scenario": "resp"},
        {"scenario": "length-prefixed"},
        {"target": "http://127.0.0.1:1/{n}?x={random:4}", "header": ["X-N: {n}"]},
        {"target": "http://127.0.0.1:1", "body": "{n}", "method": "PUT"},
        {"scenario": "half-open"},
    ],
)
def test_the_parts_say_what_the_whole_says(given: dict[str, object]) -> None:
    whole = all_said(1, connections=103, **given)
    assert len(set(whole)) == 103
    for of in (2, 3, 7):
        parts = all_said(of, connections=103, **given)
        assert sorted(whole) == sorted(parts)


def test_requests_drawn_from_a_file_are_those_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "urls"
    path.write_text("3 /a\n/b\nPOST /c\n")
    given = {"target": "http://127.0.0.1:1", "url_file": str(path), "connections": 50}
    assert all_said(3, **given) == all_said(1, **given)


def test_replies_are_known_by_the_numbers_of_the_whole() -> None:
    plan = plans(3, connections=30)[2]
    scenario = plan.scenario
    assert scenario.request(0, 4) == b"client 20 message 4\n"
    assert scenario.identify(b"client 25 message 3\n") == (5, 3)
    assert scenario.frame(0, 0, b"client 20 message 0\nclient") == len(b"client 20 message 0\n")
    numbers, seqs = np.arange(10), np.zeros(10, np.int64)
    assert scenario.which_right(numbers, seqs, scenario.replies(numbers, seqs)).all()


def test_a_counter_of_its_own_for_each_part() -> None:
    whole, first, second = plans(1, scenario="resp") + plans(2, scenario="resp")
    counters = [plan.scenario.request(0, 2) for plan in (whole, first, second)]
    assert [re.findall(rb"counter[^\r]*", each)[0] for each in counters] == [
        b"counter", b"counter:0", b"counter:1",
    ]  # fmt: skip


class Own(c1m.Scenario):
    """Its columns are as long as the run has connections."""

    name = "own"

    def begin(self, connections: int, seed: int) -> None:
        self.seen = np.zeros(connections, np.int64)

    def requests(self, numbers: np.ndarray, seqs: np.ndarray) -> c1m.Ragged:
        self.seen[numbers] += 1
        return c1m.Ragged.of([b"%d\n" % number for number in numbers.tolist()])

    def replies(self, numbers: np.ndarray, seqs: np.ndarray) -> c1m.Ragged:
        return c1m.Ragged.of([self.reply(number, 0) for number in numbers.tolist()])

    def reply(self, number: int, seq: int) -> bytes:
        return b"<%d>\n" % number

    def identify(self, reply: bytes) -> tuple[int, None]:
        return int(reply[1:-2]), None


def test_a_scenario_of_arrays_is_asked_for_the_numbers_of_the_whole() -> None:
    scenario = Own()
    plan = make_plan(
        checked({"target": "tcp://127.0.0.1:1", "connections": 10, "scenario": scenario}),
        Share(1, 2),
    )
    assert said(plan) == [b"5\n", b"6\n", b"7\n", b"8\n", b"9\n"]
    assert scenario.seen.tolist() == [0] * 5 + [1] * 5
    assert plan.scenario.reply(1, 0) == b"<6>\n"
    assert plan.scenario.identify(b"<8>\n") == (3, None)
    numbers, seqs = np.arange(5), np.zeros(5, np.int64)
    assert scenario.which_right(numbers, seqs, scenario.replies(numbers, seqs)).all()
    rehearse(scenario, 10, 0)  # the same object, alone
    assert scenario.request(1, 0) == b"1\n"


class Asking(c1m.Conversation):
    """Says who it is."""

    def begin(self, connections: int, seed: int) -> None:
        self.connections = connections

    def talk(self, n: int) -> c1m.Talk:
        yield c1m.Say(f"{n} of {self.connections} in {self.share.index}\n", until=b"\n")


def test_a_conversation_knows_its_part() -> None:
    made = []
    for index in range(2):
        given = {"target": "tcp://127.0.0.1:1", "connections": 4, "scenario": Asking()}
        plan = make_plan(checked(given), Share(index, 2))
        exchange = plan.scenario.exchange(2, 1)
        assert exchange is not None
        made += exchange.requests(np.arange(2))[0].pieces()
    assert made == [b"0 of 4 in 0\n", b"1 of 4 in 0\n", b"2 of 4 in 1\n", b"3 of 4 in 1\n"]


# --- rows -----------------------------------------------------------------------------------------


def rows_of(path: Path, how: str, stretch: Stretch, count: int) -> list[str]:
    rows = feeder(str(path), how=how)
    rows.begin(7, stretch)
    return [rows.next(0)["name"] for _ in range(count)]


def test_rows_are_shared_out(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    names = [f"user{n}" for n in range(10)]
    path.write_text("\n".join(["name", *names]))
    stretches = [Stretch(Share(i, 3).first(5), Share(i, 3).count(5), 5, Share(i, 3))
                 for i in range(3)]  # fmt: skip
    turns = [rows_of(path, "round robin", each, 5) for each in stretches]
    assert turns[0] == ["user0", "user3", "user6", "user9", "user2"]
    assert [turns[k % 3][k // 3] for k in range(15)] == [names[k % 10] for k in range(15)]
    once = [rows_of(path, "once", each, 2 * each.count) for each in stretches]
    assert [name for each in once for name in each] == names
    with pytest.raises(ScenarioError, match=r"each of its 2 rows was taken once"):
        rows_of(path, "once", stretches[2], 3)
    drawn = [rows_of(path, "random", each, 20) for each in stretches]
    assert drawn[0] != drawn[1] and set(drawn[0]) <= set(names)
    assert drawn == [rows_of(path, "random", each, 20) for each in stretches]


# --- addresses ------------------------------------------------------------------------------------


def triples(plan: AddressPlan, count: int) -> set[tuple[bytes, bytes]]:
    sources, targets = plan.rows(np.arange(count))
    assert sources is not None
    return {(bytes(a), bytes(b)) for a, b in zip(sources.rows, targets.rows, strict=True)}


@pytest.mark.parametrize("sources", [[], [f"10.0.0.{n}" for n in range(1, 8)]])
def test_clients_of_one_machine_have_no_triple_in_common(sources: list[str]) -> None:
    targets = [Endpoint(AF_INET, "127.0.0.1", port) for port in (1, 2)]
    seen: set[tuple[bytes, bytes]] = set()
    for share in shares_of(["a"] * 3):
        stretch = Stretch(share.first(100), share.count(100), 100, share)
        found = triples(plan_addresses(stretch.count, targets, sources, 100, stretch), 33)
        assert found and not found & seen
        seen |= found


def test_clients_with_one_source_share_its_ports() -> None:
    target = [Endpoint(AF_INET, "10.0.0.9", 1)]
    shares = shares_of(["a", "b", "a"])
    for share, fits in zip(shares, (50, 100, 50), strict=True):
        for sources in ([], ["10.0.0.1"]):
            stretch = Stretch(0, fits, 300, share)
            plan_addresses(fits, target, sources, 100, stretch)
            with pytest.raises(c1m.LimitError, match=f"carry {fits}"):
                plan_addresses(fits + 1, target, sources, 100, stretch)


def test_targets_are_taken_in_turns_over_all_parts() -> None:
    targets = [f"tcp://127.0.0.1:{port}" for port in (1, 2, 3, 4)]
    found = []
    for plan in plans(4, target=targets, connections=8):
        found += plan.addresses.rows(np.arange(2))[1].rows[:, 2:4].tolist()
    assert [port for _, port in found] == [1, 2, 3, 4] * 2


def test_the_window_of_connects_is_shared() -> None:
    assert [plan.window.size for plan in plans(3, connect_window=8)] == [
        3, 3, 2,
    ]  # fmt: skip
    assert [plan.window.size for plan in plans(3, connect_window=2)] == [1, 1, 1]


def test_as_many_parts_as_have_something_to_do() -> None:
    def parts(workers: int, **given: object) -> int:
        return outline(checked({"target": "tcp://127.0.0.1:1"} | given)).over(workers).parts

    assert parts(4, connections=3) == 3
    assert parts(4, connections=40) == 4
    assert parts(4, connections=4, scenario="publish", publishers=2, rate="1/s", hold="1s") == 2
    assert parts(4, connections=2, scenario="publish", publishers=2, rate="1/s", hold="1s") == 1


class Talkative(Own):
    """Three of all connections speak."""

    speakers = 3


def test_speakers_are_shared_out() -> None:
    scenario = Talkative()
    given = {"target": "tcp://127.0.0.1:1", "connections": 10, "hold": "1s", "rate": "9/s"}
    found = []
    for index in range(2):
        for _ in range(2):  # the same object again
            plan = make_plan(checked(given | {"scenario": scenario}), Share(index, 2))
            found.append((plan.scenario.speakers, plan.stages[1].rate_from))
            rehearse(scenario, 10, 0)
            assert scenario.speakers == 3
    assert found == [(2, 6.0), (2, 6.0), (1, 3.0), (1, 3.0)]
