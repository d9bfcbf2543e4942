"""What a kind of server brings to a run: the server, its peers, what must be left at the end."""

from __future__ import annotations

from random import Random

import c1m
from chaos.peers import Peer
from chaos.sabotage import Saboteur
from chaos.stage import Stage


class Run:
    """A server of one kind, with its peers."""

    stage: Stage

    def __init__(self, random: Random) -> None:
        self.random = random
        self.peers: list[Peer] = []
        chance = random.choice((0.002, 0.02)) if random.random() < 0.25 else 0
        self.saboteur = Saboteur(random, chance)

    @property
    def finishes(self) -> bool:
        """Whether all peers that behave must get all."""
        return self.stage.finishes and not self.saboteur.raised

    def peer(self) -> Peer:
        """A new one: two of five behave."""
        if self.random.random() < 0.4:
            return self.good(len(self.peers))
        return Peer(self.random, self.stage.connect(self.port()), self.bad())

    def port(self) -> int:
        """Where one that does not behave connects to."""
        return 8001

    def good(self, number: int) -> Peer:
        """One whose replies are known."""
        raise NotImplementedError

    def bad(self) -> bytes:
        """What one sends that does not behave."""
        raise NotImplementedError

    def let_peers_act(self) -> None:
        """Some of them."""
        for peer in self.peers:
            if self.random.random() < 0.6:
                peer.step()

    def step(self) -> None:
        """What else happens between ticks."""

    def check_empty(self) -> None:
        """All have gone: nothing is left of anybody."""

    def check_end(self) -> None:
        """The server has ended."""
        self.check_failed()

    def check_failed(self) -> None:
        """Every failure was noticed."""
        failed = sum(self.stage.server.statistics.failed.values())
        assert failed == self.saboteur.raised, (failed, self.saboteur.raised)

    def close(self) -> None:
        """Behind the run, however it went."""

    def counts(self) -> dict[str, int]:
        """What happened, in numbers."""
        counts, kernel = self.stage.server.statistics, self.stage.kernel
        good = [peer for peer in self.peers if peer.is_good]
        return {
            "opened": counts.opened,
            "bytes": counts.received_bytes,
            "faults": kernel.chance.counts.total(),
            "refused": kernel.refusals.refused.total(),
            "failed callbacks": self.saboteur.raised,
            "closed for these": counts.closed[c1m.CloseReason.APP],
            "behaved": len(good),
            "got all": sum(peer.has_all() for peer in good),
        }


def mutated(random: Random, data: bytes) -> bytes:
    """With some bytes wrong, or too few."""
    text = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(text) + 1)
        text[at : at + random.choice((0, 1, 1, 10, 1000))] = random.choice(
            (b"", b"\xff", b"\r\n", b"\0", b"$-1", bytes([random.randrange(256)]))
        )
    return bytes(text)
