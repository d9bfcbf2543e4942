"""Hosts on one network, each with an address of its own: network namespaces with a switch.

    with Hosts(3) as hosts:
        Server(tmp_path, listen=[f"tcp://{hosts.address(0)}:0"], before=hosts.at(0))
        hosts.cut(1)  # its cable is pulled out
        hosts.mend(1)

Facts: a namespace without a name lives as long as a process is in it: of each host one sleeps. So
nothing is left behind, however this ends. A link between two namespaces is a pair of devices, of
which one that is down makes the other one lose its carrier, as a cable does.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from e2e.dask_processes import until

NETWORK = "10.78.0"  # in namespaces of its own: nobody else meets it


class CannotBeHad(Exception):
    """No namespaces, bridges or links here."""


class Hosts:
    """As a context manager: all are there when entered, and have gone when left."""

    def __init__(self, count: int) -> None:
        self._sleepers = [
            subprocess.Popen(["unshare", "-n", "sleep", "infinity"], stderr=subprocess.DEVNULL)
            for _ in range(count + 1)
        ]
        self._switch = self._sleepers[-1].pid

    def address(self, number: int) -> str:
        """Of a host, from 0."""
        return f"{NETWORK}.{number + 1}"

    def at(self, number: int) -> tuple[str, ...]:
        """What starts a command on a host."""
        return ("nsenter", f"--net=/proc/{self._sleepers[number].pid}/ns/net")

    def established(self, number: int) -> int:
        """How many connections a host has, as its kernel counts."""
        lines = Path(f"/proc/{self._sleepers[number].pid}/net/tcp").read_text().splitlines()[1:]
        return sum(line.split()[3] == "01" for line in lines)

    def cut(self, number: int) -> None:
        """Off from all others."""
        self._ip(-1, "link", "set", f"host{number}", "down")

    def mend(self, number: int) -> None:
        """As before."""
        self._ip(-1, "link", "set", f"host{number}", "up")

    def __enter__(self) -> Hosts:
        try:
            ours = os.readlink("/proc/self/ns/net")
            for one in self._sleepers:
                until(lambda pid=one.pid: os.readlink(f"/proc/{pid}/ns/net") != ours, "a namespace")
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sleepers:
            one.kill()
            one.wait()

    def _connect(self) -> None:
        self._ip(-1, "link", "add", "switch", "type", "bridge")
        self._ip(-1, "link", "set", "switch", "up")
        for number, one in enumerate(self._sleepers[:-1]):
            ends = ("type", "veth", "peer", "name", "eth0", "netns", str(one.pid))
            self._ip(-1, "link", "add", f"host{number}", *ends)
            self._ip(-1, "link", "set", f"host{number}", "master", "switch", "up")
            self._ip(number, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                self._ip(number, "link", "set", device, "up")

    def _ip(self, number: int, *words: str) -> None:
        done = subprocess.run(
            [*self.at(number), "ip", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CannotBeHad(done.stderr.strip())
