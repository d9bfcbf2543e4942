"""A shop over HTTP, for examples/shop.py to load: it has a log-in, carts and orders.

Shows   an ASGI application on c1m's event loop.
Needs   uvicorn.
Try it  python examples/shop_server.py 8001
        curl http://127.0.0.1:8001/items
        With a second argument every so manieth total leaves something out.
"""

import csv
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import uvicorn

PRICES = {"cup": 1290, "kettle": 3900, "pot": 2450, "tea": 480}  # in cents
with Path(__file__).with_name("users.csv").open() as file:
    PASSWORDS = {row["user"]: row["password"] for row in csv.DictReader(file)}


class Shop:
    def __init__(self, wrong_every: int = 0) -> None:
        self.carts: dict[str, list[str]] = {}  # by the token of who has logged in
        self.orders = self.sold = self.totals = 0
        self.wrong_every = wrong_every

    def total(self, cart: list[str]) -> int:
        self.totals += 1
        is_wrong = self.wrong_every and self.totals % self.wrong_every == 0
        return sum(PRICES[item] for item in (cart[1:] if is_wrong else cart))

    def answer(self, asked: tuple[str, str], token: str, body: Any) -> tuple[int, Any]:
        if asked == ("GET", "/items"):
            return 200, PRICES
        if asked == ("GET", "/sales"):
            return 200, {"orders": self.orders, "sold": self.sold}
        if asked == ("POST", "/login"):
            if PASSWORDS.get(body["user"]) != body["password"]:
                return 403, {"error": "no such user, or another password"}
            token = secrets.token_hex(8)
            self.carts[token] = []
            return 200, {"token": token}
        if token not in self.carts:
            return 401, {"error": "log in first"}
        if asked == ("POST", "/cart"):
            self.carts[token] += [body["item"]] * body["count"]
            return 200, {"total": self.total(self.carts[token])}
        if asked == ("POST", "/order"):
            self.orders += 1
            self.sold += (paid := sum(PRICES[item] for item in self.carts.pop(token)))
            return 201, {"order": self.orders, "paid": paid}
        return 404, {"error": "there is nothing"}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See the ASGI specification; a body here comes in one piece."""
        body = (await receive())["body"]
        token = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        asked = scope["method"], scope["path"]
        status, reply = self.answer(asked, token, json.loads(body) if body else None)
        fields = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": json.dumps(reply).encode()})


if __name__ == "__main__":
    uvicorn.run(
        Shop(int(sys.argv[2]) if len(sys.argv) > 2 else 0), port=int(sys.argv[1]),
        loop="c1m:new_event_loop", lifespan="off", log_level="warning",
    )  # fmt: skip
