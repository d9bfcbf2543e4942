"""A bank over a key-value server: money moves, and at any moment all of it is there.

Shows   transactions in a conversation, two kinds of them in one run, checks with a name.
Needs   a server that speaks Redis's protocol.
Try it  c1m serve kv --listen tcp://127.0.0.1:6400 &      (or redis-server --port 6400)
        c1m load redis://127.0.0.1:6400 --connections 100 \
            --scenario examples/bank.py:Customer=9 --scenario examples/bank.py:Auditor
        `python examples/broken_kv.py payment 6400` loses one payment in 1,000.
"""

import random
from typing import Any

import c1m
from c1m import Command

EACH = 1_000
ACCOUNTS = [f"account:{number}" for number in range(50)]


class Customer(c1m.Conversation):
    """Takes money from one account to another: both or neither is changed."""

    def talk(self, n: int) -> Any:
        yield Command("MSETNX", *(word for name in ACCOUNTS for word in (name, EACH)))
        payer, payee = random.sample(ACCOUNTS, 2)
        amount = random.randint(1, 100)
        yield Command("WATCH", payer)
        if int((yield Command("GET", payer))) < amount:
            yield Command("UNWATCH")
            return
        yield Command("MULTI")
        yield Command("DECRBY", payer, amount, expect="QUEUED")
        yield Command("INCRBY", payee, amount, expect="QUEUED")
        done = yield Command("EXEC")  # None: somebody else has changed the payer's account
        if done is not None:
            c1m.check("no account below zero", done[0] >= 0, f"{payer} has {done[0]}")


class Auditor(c1m.Conversation):
    """Adds up all accounts, which MGET reads at one moment."""

    def talk(self, n: int) -> Any:
        held = yield Command("MGET", *ACCOUNTS)
        total = sum(map(int, held))
        c1m.check("the sum is kept", total == EACH * len(ACCOUNTS), f"{total:,} in all")
