"""Customers of a shop over HTTP: most look around, some log in, fill a cart and order.

Shows   users from a CSV file, a token taken from one reply into the next request, checks with a
        name, sums over all connections, two kinds of customers in one run.
Needs   examples/shop_server.py, and uvicorn for that.
Try it  python examples/shop_server.py 8001 &
        c1m load http://127.0.0.1:8001 --connections 100 --rate 500/s \
            --scenario examples/shop.py:Browser=9 --scenario examples/shop.py:Buyer \
            --require 'check:total is right == 0'
"""

import json
import random
import urllib.request
from collections.abc import Generator

import c1m

Talk = Generator[c1m.Request, c1m.Response, None]
USERS = c1m.feeder("users.csv", columns=["user", "password"])


class Browser(c1m.Conversation):
    """Looks at what there is."""

    def talk(self, n: int) -> Talk:
        reply = yield c1m.Get("/items")
        c1m.check("there is tea", "tea" in reply.json(), reply.text)


class Buyer(c1m.Conversation):
    """Logs in, puts things into the cart, and orders."""

    def begin(self, connections: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.orders = self.paid = 0

    def set_up(self) -> None:
        self.before = self.sales()

    def sales(self) -> dict[str, int]:
        """What the shop says it has sold."""
        with urllib.request.urlopen(f"{self.target}/sales", timeout=30) as reply:
            said: dict[str, int] = json.load(reply)
            return said

    def talk(self, n: int) -> Talk:
        user = USERS.next(n)
        reply = yield c1m.Post("/login", data={"user": user["user"], "password": user["password"]})
        headers = {"Authorization": f"Bearer {reply.json()['token']}"}
        prices: dict[str, int] = (yield c1m.Get("/items")).json()
        total = 0
        for item in self.random.sample(sorted(prices), 2):
            count = self.random.randint(1, 5)
            total += prices[item] * count
            data = {"item": item, "count": count}
            cart = (yield c1m.Post("/cart", data=data, headers=headers)).json()
            c1m.check("total is right", cart["total"] == total, f"{cart['total']}, not {total}")
        order = (yield c1m.Post("/order", headers=headers, expect=201)).json()
        c1m.check("what is paid is right", order["paid"] == total, f"{order['paid']}, not {total}")
        self.orders += 1
        self.paid += total

    def at_end(self) -> None:
        if self.share.of > 1:  # with --cluster others buy, too
            return
        now = self.sales()
        sold = now["orders"] - self.before["orders"], now["sold"] - self.before["sold"]
        c1m.check("orders add up", sold == (self.orders, self.paid), f"{sold} at the shop")
