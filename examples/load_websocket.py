"""A load scenario over WebSocket: what a browser says to a chat, in JSON.

Shows   a conversation in messages: the upgrade, frames, pings and closes are c1m's business, and a
        reply is the next message.
Needs   a WebSocket server that sends back what it is sent: `websockets`, uvicorn, aiohttp.
Try it  c1m load ws://127.0.0.1:8001/chat --connections 1k --hold 5s --think 1s \
            --scenario examples/load_websocket.py:Visitor
"""

import json
from collections.abc import Generator

import c1m


class Visitor(c1m.Conversation):
    """Says hello when the connection is open, and then one thing after the other."""

    def talk(self, n: int) -> Generator[c1m.Say, bytes, None]:
        yield c1m.Say(json.dumps({"hello": n}).encode())
        count = 0
        while True:
            reply = yield c1m.Say(json.dumps({"from": n, "text": f"message {count}"}).encode())
            said = json.loads(reply)  # what is no JSON is a wrong reply
            assert (said["from"], said["text"]) == (n, f"message {count}"), "it should come back"
            count += 1
