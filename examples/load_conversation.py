"""A load scenario in the plain form: what one connection says, and what it makes of the answers.

Shows   c1m.Conversation and c1m.Say: a generator a connection, one request a yield, checks as
        asserts; a plain generator function does, too.
Needs   a server that repeats lines; examples/echo.py will do.
Try it  python examples/echo.py 8001 &
        c1m load tcp://127.0.0.1:8001 --connections 1k --hold 5s --think 1s \
            --scenario examples/load_conversation.py:Checkout
"""

from collections.abc import Generator

import c1m


class Checkout(c1m.Conversation):
    """Puts things into a basket and pays for them; begins anew when it is done."""

    def begin(self, connections: int, seed: int) -> None:
        self.paid = 0

    def talk(self, n: int) -> Generator[c1m.Say, bytes, None]:
        for item in range(n % 3 + 1):
            reply = yield c1m.Say(b"PUT %d\n" % item, until=b"\n")
            assert reply == b"PUT %d\n" % item, "the basket should have what was put into it"
        reply = yield c1m.Say(b"PAY %d\n" % n, until=b"\n")
        assert int(reply.split()[1]) == n, "the bill should be ours"
        self.paid += 1


def ping(n: int) -> Generator[c1m.Say, bytes, None]:
    yield c1m.Say(b"ping\n", expect=b"ping\n")
