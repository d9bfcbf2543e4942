"""Clients that wait, against a slow form: one list of all who wait, gone through from its start."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kv_session import Session

KEYS = "abc"
CLIENTS = 5

keys = st.sampled_from(KEYS)
sides = st.sampled_from(["LEFT", "RIGHT"])
pops = st.tuples(st.just("pop"), sides, st.lists(keys, min_size=1, max_size=3))
moves = st.tuples(st.just("move"), sides, keys, keys, sides)
pushes = st.tuples(st.just("push"), keys, st.integers(1, 4))
steps = st.lists(st.tuples(st.integers(0, CLIENTS - 1), pops | moves | pushes), max_size=25)


class Slow:
    """The lists, who waits in the order of their coming, and what each was answered."""

    def __init__(self) -> None:
        self.lists: dict[str, list[bytes]] = {}
        self.waiting: list[tuple[int, Any]] = []
        self.said: list[tuple[int, Any]] = []
        self.ready: list[str] = []
        self.items = 0

    def put(self, key: str, side: str, item: bytes) -> None:
        if key not in self.lists:
            self.ready.append(key)
        held = self.lists.setdefault(key, [])
        held.insert(0 if side == "LEFT" else len(held), item)

    def take(self, key: str, side: str) -> bytes:
        held = self.lists[key]
        item = held.pop(0 if side == "LEFT" else -1)
        if not held:
            del self.lists[key]
        return item

    def try_at(self, client: int, what: Any, key: str) -> bool:
        """Carry a command out at one of its keys, if there is an item."""
        if key not in self.lists:
            return False
        if what[0] == "pop":
            self.said.append((client, [key.encode(), self.take(key, what[1])]))
        else:
            held = self.lists[key]
            item = held.pop(0 if what[1] == "LEFT" else -1)
            self.put(what[3], what[4], item)
            if not held:
                del self.lists[key]
            self.said.append((client, item))
        return True

    def run(self, client: int, what: Any) -> None:
        if what[0] == "push":
            for _ in range(what[2]):
                self.items += 1
                self.put(what[1], "RIGHT", b"%d" % self.items)
            self.said.append((client, len(self.lists[what[1]])))
        elif not any(self.try_at(client, what, key) for key in wanted(what)):
            self.waiting.append((client, what))
        while self.ready:
            key = self.ready.pop(0)
            if key in self.ready:  # it is looked at once a round; the first time counts
                self.ready = [other for other in self.ready if other != key]
            self.serve(key)

    def serve(self, key: str) -> None:
        at = 0
        while at < len(self.waiting):
            client, what = self.waiting[at]
            if key in wanted(what) and self.try_at(client, what, key):
                del self.waiting[at]
            else:
                at += 1


def wanted(what: Any) -> list[str]:
    return list(what[2]) if what[0] == "pop" else [what[2]]


def words(what: Any, items: int) -> list[object]:
    if what[0] == "push":
        return ["RPUSH", what[1], *range(items + 1, items + 1 + what[2])]
    if what[0] == "pop":
        return ["BLPOP" if what[1] == "LEFT" else "BRPOP", *what[2], 0]
    return ["BLMOVE", what[2], what[3], what[1], what[4], 0]


@given(steps)
def test_who_waits_is_served_as_in_the_slow_form(steps: list[tuple[int, Any]]) -> None:
    session, slow = Session(CLIENTS), Slow()
    for client, what in steps:
        if session.clients[client].waiter is not None:
            continue
        reply = session(*words(what, slow.items), client=client)
        slow.run(client, what)
        said = [(client, reply)] if reply is not None else []
        said += [(other, late) for other in range(CLIENTS) for late in session.heard(other)]
        assert sorted(said, key=lambda pair: pair[0]) == sorted(slow.said, key=lambda pair: pair[0])
        slow.said.clear()
        assert session.store.waiting.count == len(slow.waiting)
        for key in KEYS:
            assert session("LRANGE", key, 0, -1, client=client) == slow.lists.get(key, [])
