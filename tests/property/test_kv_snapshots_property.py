"""The guarantees of a scan, while members come and go and many scan at once."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from c1m.kv import snapshots
from c1m.kv.snapshots import Snapshots

Owner = snapshots.Owner


class World:
    """Two containers that change, and scans of them."""

    def __init__(self) -> None:
        self.snapshots = Snapshots()
        self.containers: list[dict[bytes, None]] = [{}, {}]
        self.changes = 0
        self.now_ms = 0
        self.scans: list[Scan] = []

    def add(self, which: int, member: int) -> None:
        self.containers[which][b"%d" % member] = None
        self.changes += 1

    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.snapshots.drop_idle(self.now_ms)

    def remove(self, which: int, member: int) -> None:
        self.containers[which].pop(b"%d" % member, None)
        self.changes += 1
        for scan in self.scans:
            if scan.which == which:
                scan.throughout.discard(b"%d" % member)


class Scan:
    """One that has begun: what was there all the time, and what it has seen."""

    def __init__(self, world: World, which: int, count: int) -> None:
        self.world, self.which, self.count = world, which, count
        self.cursor = 0
        self.throughout = set(world.containers[which])
        self.ever = set(world.containers[which])
        self.seen: set[bytes] = set()
        self.is_over = False

    def step(self) -> bool:
        """Take the next part; whether there is more."""
        world = self.world
        container = world.containers[self.which]
        self.ever |= set(container)
        owner = (0, b"%d" % self.which)
        self.cursor, found = world.snapshots.step(
            owner, self.cursor, self.count, container, world.changes, world.now_ms
        )
        assert 0 <= self.cursor < 1 << 53
        self.seen.update(member for member in found if member in container)
        self.is_over = self.cursor == 0
        return not self.is_over


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "begin", "step", "leave", "wait"]),
        st.integers(0, 1),
        st.integers(0, 12),
    ),
    max_size=120,
)


@given(steps, st.integers(1, 4), st.integers(0, 20))
def test_what_is_there_all_the_time_is_returned(
    actions: list[Step], kept: int, members: int
) -> None:
    with changed_bounds(kept, members):
        world = World()
        for action, which, number in actions:
            act(world, action, which, number)
        for scan in list(world.scans):
            for _ in range(500):
                if scan.is_over:
                    break
                scan.step()
            check(scan)


def act(world: World, action: str, which: int, number: int) -> None:
    """One thing that happens."""
    actions: dict[str, Callable[[], object]] = {
        "add": lambda: world.add(which, number),
        "remove": lambda: world.remove(which, number),
        "begin": lambda: world.scans.append(Scan(world, which, 1 + number % 4)),
        "step": lambda: number < len(world.scans) and world.scans[number].step(),
        "leave": lambda: world.scans[number:] and world.scans.pop(number),
        "wait": lambda: world.wait(number * 50_000),
    }
    actions[action]()
    for scan in [scan for scan in world.scans if scan.is_over]:
        check(scan)
        world.scans.remove(scan)


def check(scan: Scan) -> None:
    assert scan.is_over
    assert scan.throughout <= scan.seen <= scan.ever


class changed_bounds:  # noqa: N801
    """Bounds so small that they are met."""

    def __init__(self, kept: int, members: int) -> None:
        self.new = {"KEPT_MAX": kept, "MEMBERS_MAX": members}
        self.old = {name: getattr(snapshots, name) for name in self.new}

    def __enter__(self) -> None:
        for name, value in self.new.items():
            setattr(snapshots, name, value)

    def __exit__(self, *_: object) -> None:
        for name, value in self.old.items():
            setattr(snapshots, name, value)


def test_scans_that_lost_their_snapshots_share_one_and_end() -> None:
    """More scans at once than snapshots are kept, while the container changes."""
    with changed_bounds(2, 1 << 22):
        world = World()
        for member in range(30):
            world.add(0, member)
        for extra in range(10):
            world.scans.append(Scan(world, 0, 3))
            world.scans[-1].step()
            world.add(0, 100 + extra)
        for turn in range(25):
            world.add(0, 200 + turn)
            for scan in world.scans:
                if not scan.is_over:
                    scan.step()
        for scan in world.scans:
            check(scan)
