"""Growing is something that can be refused: at every call that gives something, at any occurrence.

An engine that cannot be made says so in a sentence. After that nothing raises: whoever is there
stays and is served, and when there is room again the others are served too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from c1m.errors import EngineUnavailable, LimitError
from contract.peers import Peer, PeerListener
from contract.refusing import AS_DATA, KINDS, LONG, Scene, code_for
from contract.sample import to
from contract.world import IDLE_NS, World, echo

PEERS, BLOCK = 42, 14  # on tables of 16: three rings
CONNECTS, PIECE = 40, 10
SAID = b"anybody there?"
EPOLL_STEP = 8  # where time is real, only each eighth occurrence is tried for long
IDLE_TURNS = 60  # of IDLE_NS: a pause that doubles asks six or seven times
ASKED_MOST = 12

Make = Callable[[], Scene]
CASES = [(kind, call) for kind, calls in KINDS.items() for call in calls]


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Scene]]:
    """Makes scenes; those of one test share nothing."""
    made: list[Scene] = []

    def make(kind: str) -> Scene:
        monkeypatch.undo()
        made.append(Scene(kind, monkeypatch))
        return made[-1]

    yield make
    for scene in made:
        scene.harness.close()


def world_of(scene: Scene) -> World | None:
    """A world that echoes; None where the engine could not be made, which it has said."""
    try:
        world = World(scene.harness)
    except EngineUnavailable as refusal:
        assert refusal.message.startswith("The kernel gives no ")
        assert scene.kernel.refused.total() > 0
        return None
    world.app = echo(world)
    return world


def occurrences(scenes: Callable[[str], Scene], kind: str, call: str, play: Play) -> int:
    """How often the call is made where nothing is refused."""
    scene = scenes(kind)
    world = world_of(scene)
    assert world is not None
    play(world)
    world.end()
    return int(scene.kernel.calls[call])


def served(peers: list[Peer]) -> int:
    """How many have their echo."""
    return sum(bytes(peer.received) == SAID for peer in peers)


def come(world: World, count: int = BLOCK) -> list[Peer]:
    """So many peers connect and speak."""
    peers = [world.harness.peer(world.endpoint) for _ in range(count)]
    for peer in peers:
        peer.send(SAID)
    return peers


def alive(listener: PeerListener) -> list[Peer]:
    """Those that the engine has connected to."""
    return [peer for peer in listener.accepted if not peer.has_ended()]


def accept_all(world: World) -> None:
    """They come in blocks and all are served; then a block goes and another one comes."""
    world.listen()
    peers: list[Peer] = []
    while len(peers) < PEERS:
        peers.extend(come(world))
        world.pump(lambda: served(peers) == len(peers))
    for peer in peers[:BLOCK]:
        peer.close()
    late = come(world)
    world.pump(lambda: served(late) == BLOCK)


def connect_all(world: World) -> None:
    """Connects in pieces; what cannot be started now is started later, and all get their echo."""
    listener = world.harness.peer_listener()
    left, count = CONNECTS, PIECE
    while left:
        try:
            world.connect(to(listener.endpoint, min(left, count)))
            left -= min(left, count)
            count = PIECE
        except LimitError as limit:
            assert limit.free < count
            count = limit.free or PIECE
        world.turn(IDLE_NS)
    world.pump(lambda: not world.log.connecting)
    # A connect that epoll refused to watch has been accepted over there, and has ended.
    world.pump(lambda: len(alive(listener)) == len(world.log.conns))
    peers = alive(listener)
    for peer in peers:
        peer.send(SAID)
    world.pump(lambda: served(peers) == len(peers))
    assert len(world.log.conns) + len(world.log.failed) == CONNECTS


Play = Callable[[World], None]


@pytest.mark.parametrize("play", [accept_all, connect_all])
@pytest.mark.parametrize(("kind", "call"), CASES)
def test_a_refusal_that_passes_costs_nobody_anything(
    scenes: Callable[[str], Scene], kind: str, call: str, play: Play
) -> None:
    count = occurrences(scenes, kind, call, play)
    for occurrence in range(1, count + 1):
        times = 1 if occurrence % 2 else 3
        scene = scenes(kind)
        scene.kernel.refuse(call, occurrence, times, code_for(call, occurrence))
        world = world_of(scene)
        if world is None:
            continue
        at_first = scene.kernel.refused[call]  # and made good, or there were no engine
        play(world)
        refused = scene.kernel.refused[call] - at_first
        failed = [code for _, code in world.log.failed]
        if call in AS_DATA and kind != "epoll":
            assert failed == [code_for(call, occurrence)] * refused
        else:
            assert set(failed) <= {code_for(call, occurrence)}
            is_told = bool(world.engine.statistics().refusal)
            assert is_told or not refused or play is connect_all
        world.end()


@pytest.mark.parametrize(("kind", "call"), CASES)
def test_a_refusal_that_lasts_pauses_accepting_without_spinning(
    scenes: Callable[[str], Scene], kind: str, call: str
) -> None:
    count = occurrences(scenes, kind, call, accept_all)
    for occurrence in range(1, count + 1, EPOLL_STEP if kind == "epoll" else 1):
        scene = scenes(kind)
        scene.kernel.refuse(call, occurrence, LONG, code_for(call, occurrence))
        world = world_of(scene)
        if world is None:
            continue
        world.listen()
        peers = come(world, PEERS)
        world.settle()
        there = len(world.log.at)
        assert served(peers) == there
        asked, ticks = scene.kernel.refused[call], world.engine.statistics().ticks
        for _ in range(IDLE_TURNS):
            world.turn(IDLE_NS)
        assert scene.kernel.refused[call] - asked <= ASKED_MOST
        assert world.engine.statistics().ticks - ticks == IDLE_TURNS
        assert (len(world.log.at), served(peers)) == (there, there)
        if there < PEERS:
            statistics = world.engine.statistics()
            assert statistics.refused and statistics.refusal.startswith("The kernel gives no ")
        scene.kernel.lift()
        world.pump(lambda peers=peers: served(peers) == PEERS)
        world.end()


@pytest.mark.parametrize("kind", ["uring", "epoll"])
def test_a_place_that_is_given_back_is_taken_at_once(
    scenes: Callable[[str], Scene], kind: str
) -> None:
    """However long the pause has become: who closes makes room."""
    scene = scenes(kind)
    world = world_of(scene)
    assert world is not None
    world.listen()
    peers = come(world, 10)
    world.pump(lambda: served(peers) == 10)
    for _ in range(5):
        scene.kernel.refuse("accept", scene.kernel.calls["accept"] + 1, LONG, 23)
        late = come(world, 1)
        for _ in range(IDLE_TURNS):
            world.turn(IDLE_NS)
        assert served(late) == 0
        scene.kernel.lift()
        world.close(world.log.live()[0])
        ticks = world.engine.statistics().ticks
        world.pump(lambda late=late: served(late) == 1)
        assert world.engine.statistics().ticks - ticks <= 10
    world.end()
