"""Two network namespaces and a bad wire between them: packets are lost, delayed, doubled, damaged.

    with Wire(Faults(loss=0.02), seed=1) as wire:
        Server(tmp_path, listen=[f"tcp://{SERVER}:0"], before=wire.server)
        run("load", ..., before=wire.client)

Facts: a TUN device stays in the namespace in which its descriptor was opened, and what is written
to that descriptor is received there; so one process holds both ends and is the wire. A namespace
without a name lives as long as somebody is in it or holds it: nothing is left behind, however this
ends. The kernel makes packets of the device's MTU and checks the sums of those that it receives.
Each packet's fate is drawn from the seed, in the order in which packets come.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

SERVER, CLIENT = "10.77.0.1", "10.77.0.2"  # in namespaces of their own: nobody else meets them
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_UP = 0x400454CA, 1, 0x1000, 1
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU = 0x8914, 0x8916, 0x891C, 0x8922
AT_ONCE = 64  # packets of one end before the other has its turn
PACKET_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Faults:
    """What becomes of packets: chances from 0 to 1, times in seconds."""

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0  # more for each packet: from 0 up to this, so that they pass each other
    duplicate: float = 0.0
    damage: float = 0.0  # one byte is another, which every checksum catches


class CannotBeHad(Exception):
    """No namespaces or no TUN devices here."""


class Wire:
    """The process in between. `server` and `client`: what starts a command at that end."""

    def __init__(self, faults: Faults, seed: int = 1, mtu: int = 1500) -> None:
        words = json.dumps([asdict(faults), seed, mtu])
        self._process = subprocess.Popen(
            [sys.executable, __file__, words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None and self._process.stderr is not None
        said = self._process.stdout.readline()
        if not said:
            with self:
                raise CannotBeHad(self._process.stderr.read().strip().rpartition("\n")[2])
        at = f"/proc/{self._process.pid}/fd"
        self.server, self.client = (
            ("nsenter", f"--net={at}/{number}") for number in json.loads(said)
        )

    def say(self, **what: Any) -> dict[str, int]:
        """Change it: `mtu`, `down_s` from now on, `faults`; what it has done to packets so far."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._process.stdout.readline())
        return counts

    def kernel(self, end: tuple[str, ...]) -> dict[str, int]:
        """What TCP counted there: /proc/net/snmp."""
        said = subprocess.check_output([*end, "cat", "/proc/net/snmp"], text=True)
        names, values = (line.split()[1:] for line in said.splitlines() if line[:4] == "Tcp:")
        return dict(zip(names, map(int, values), strict=True))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


# --- the process in between -----------------------------------------------------------------------


class End:
    """A new namespace with a TUN device that is up, and its descriptors."""

    def __init__(self, address: str, mtu: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace can be made")
        self.namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._up(b"lo")
        for what, text in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
            name = struct.pack("16sHH4s16x", b"wire", socket.AF_INET, 0, socket.inet_aton(text))
            fcntl.ioctl(self._control, what, name)
        self.set_mtu(mtu)
        self._up(b"wire")

    def _up(self, device: bytes) -> None:
        fcntl.ioctl(self._control, SIOCSIFFLAGS, struct.pack("16sH22x", device, IFF_UP))

    def set_mtu(self, mtu: int) -> None:
        """From the next packet on."""
        fcntl.ioctl(self._control, SIOCSIFMTU, struct.pack("16si20x", b"wire", mtu))

    def packets(self) -> Iterator[bytes]:
        """Some of those that wait."""
        for _ in range(AT_ONCE):
            try:
                yield os.read(self.tun, PACKET_MAX)
            except BlockingIOError:
                return

    def receive(self, packet: bytes) -> None:
        """What is no packet any more, and what there is no room for, is lost."""
        with contextlib.suppress(OSError):
            os.write(self.tun, packet)


class Between:
    """Carries packets from end to end."""

    def __init__(self, faults: Faults, seed: int, mtu: int) -> None:
        self.faults, self._random = faults, Random(seed)
        self.ends = [End(SERVER, mtu), End(CLIENT, mtu)]
        self.counts = dict.fromkeys(("carried", "lost", "doubled", "damaged", "lost_while_down"), 0)
        self._down_until = 0.0
        self._under_way: list[tuple[float, int, End, bytes]] = []
        self._numbers = itertools.count()

    def run(self) -> None:
        """Until standard input ends."""
        other = dict(zip(self.ends, reversed(self.ends), strict=True))
        by_fd = {end.tun: end for end in self.ends}
        while True:
            due = self._under_way[0][0] - time.monotonic() if self._under_way else None
            readable, _, _ = select.select(
                [*by_fd, 0], [], [], None if due is None else max(due, 0)
            )
            for fd in readable:
                if fd == 0:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self._obey(json.loads(line))
                    continue
                for packet in by_fd[fd].packets():
                    self._take(packet, other[by_fd[fd]])
            now = time.monotonic()
            while self._under_way and self._under_way[0][0] <= now:
                _, _, end, packet = heapq.heappop(self._under_way)
                end.receive(packet)

    def _take(self, packet: bytes, end: End) -> None:
        faults, random, now = self.faults, self._random, time.monotonic()
        lost, twice, harmed, more, again, place, bit = (random.random() for _ in range(7))
        if now < self._down_until:
            self.counts["lost_while_down"] += 1
            return
        if lost < faults.loss:
            self.counts["lost"] += 1
            return
        self.counts["carried"] += 1
        if harmed < faults.damage:
            self.counts["damaged"] += 1
            at = int(place * len(packet))
            packet = packet[:at] + bytes([packet[at] ^ (1 << int(bit * 8))]) + packet[at + 1 :]
        self._send(now + faults.delay_s + more * faults.jitter_s, end, packet)
        if twice < faults.duplicate:
            self.counts["doubled"] += 1
            self._send(now + faults.delay_s + again * faults.jitter_s, end, packet)

    def _send(self, when: float, end: End, packet: bytes) -> None:
        heapq.heappush(self._under_way, (when, next(self._numbers), end, packet))

    def _obey(self, what: dict[str, Any]) -> None:
        if "down_s" in what:
            self._down_until = time.monotonic() + what["down_s"]
        if "faults" in what:
            self.faults = Faults(**what["faults"])
        if "mtu" in what:
            for end in self.ends:
                end.set_mtu(what["mtu"])
        print(json.dumps(self.counts), flush=True)


def main() -> None:
    faults, seed, mtu = json.loads(sys.argv[1])
    between = Between(Faults(**faults), seed, mtu)
    print(json.dumps([end.namespace for end in between.ends]), flush=True)
    between.run()


if __name__ == "__main__":
    main()
