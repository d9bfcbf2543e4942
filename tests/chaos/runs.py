"""One run: a server of some kind, peers of all kinds, faults; then the end, and the laws.

`run(seed)` raises AssertionError, or what the server raised, where one of them does not hold.
"""

from __future__ import annotations

from random import Random

from chaos.echo import EchoRun
from chaos.kinds import Run
from chaos.kv import KvRun
from chaos.peers import pump
from chaos.sabotage import quietly
from chaos.secure import SecureRun
from chaos.web import PushRun, RoomsRun
from chaos.wild import WildRun

KINDS: tuple[type[Run], ...] = (
    EchoRun, KvRun, PushRun, RoomsRun, WildRun, EchoRun, KvRun, PushRun, RoomsRun, WildRun, KvRun,
    SecureRun,
)  # fmt: skip


def kind_of(seed: int) -> type[Run]:
    """Kinds take turns."""
    return KINDS[seed % len(KINDS)]


def run(seed: int) -> dict[str, int]:
    """Returns what happened, in numbers."""
    random = Random(seed)
    this = kind_of(seed)(random)
    with this.stage.own_time(), quietly():
        try:
            _run(random, this)
        finally:
            this.close()
    return this.counts()


def _run(random: Random, this: Run) -> None:
    stage, peers = this.stage, this.peers
    for _ in range(random.choice((10, 40, 80))):
        if len(peers) < 8 and random.random() < 0.35:
            peers.append(this.peer())
        this.let_peers_act()
        this.step()
        stage.pass_time()
        stage.tick(random.randrange(3))
    _end(random, this)


def _end(random: Random, this: Run) -> None:
    stage, peers = this.stage, this.peers
    ending = random.choice(("finish", "finish", "drain", "shutdown"))
    if ending == "finish":
        pump(stage, peers)
        for peer in peers:
            peer.check(must_have_all=this.finishes)
            peer.leave()
        stage.leaves_nobody()
        this.check_empty()
    elif ending == "drain":
        stage.server.loop.call_every(50_000_000, lambda _: this.let_peers_act(), 0)
        stage.drain()
        this.check_empty()
    stage.end()
    for peer in peers:
        while not (peer.has_gone or peer.is_cut):
            before = len(peer.came)
            peer.receive()
            if len(peer.came) == before:
                break
        peer.check(must_have_all=False)
        peer.leave()
    this.check_end()
