"""Members of a chat room: what one says, every one hears, once and in order.

Shows   messages that nobody asked for (`heard`), a reply among them (`when`), and what all
        connections share.
Needs   examples/chat.py.
Try it  python examples/chat.py 8001 &
        c1m load 'ws://127.0.0.1:8001/tea?name={n}' --connections 50 --rate 100/s \
            --scenario examples/chat_load.py --require 'check:once and in order == 0'
"""

from collections.abc import Generator

import c1m


class Member(c1m.Conversation):
    """Says "7 says 0", "7 says 1" and so on; hears "7: 7 says 0", and all others."""

    def begin(self, connections: int, seed: int) -> None:
        self.said = [0] * connections
        first = self.share.first(connections)  # with --cluster others have others in the room
        self.members = range(first, first + self.share.count(connections))
        self.next: dict[tuple[int, int], int] = {}  # by who hears whom: the number that is due

    def talk(self, n: int) -> Generator[c1m.Say, str, None]:
        text = f"{n} says {self.said[n]}"
        self.said[n] += 1
        reply = yield c1m.Say(text, when=lambda heard: heard == f"{n}: {text}")
        self.note(n, reply)

    def heard(self, n: int, message: str) -> bool:
        if " says " in message:
            self.note(n, message)
        return True  # else: somebody has come, or left

    def note(self, n: int, message: str) -> None:
        """One message of the room, which member `n` hears."""
        speaker, _, number = message.partition(": ")[2].partition(" says ")
        pair = n, int(speaker)
        due = self.next.get(pair, int(number))  # the first that it hears may be any
        c1m.check("once and in order", int(number) == due, f"{n} heard {message!r}, {due} was due")
        self.next[pair] = int(number) + 1

    def at_end(self) -> None:
        talkers = [n for n in self.members if self.said[n] > 2]  # heard when all had come
        deaf = [(n, who) for n in self.members for who in talkers if (n, who) not in self.next]
        c1m.check("all hear all", not deaf, f"{deaf[:1]} and others never heard each other")
