"""Chat: rooms by WebSocket; what one says, all in its room hear.

Shows   c1m.WebSocketApp: who may come in, channels, messages, and who has left.
Needs   nothing else.
Try it  python examples/chat.py 8000
        python -m websockets "ws://127.0.0.1:8000/tea?name=Ada"      (pip install websockets)
"""

import sys

import c1m


class Chat(c1m.WebSocketApp):
    def on_start(self, server: c1m.WebSocketServer) -> None:
        self.who: dict[int, tuple[str, str]] = {}  # slot -> room and name

    def on_open(self, batch: c1m.ConnectBatch, server: c1m.WebSocketServer) -> None:
        names, rooms = batch.query("name"), batch.paths()
        batch.refuse(batch.slots[(names == "") | (rooms == "/")], 400)  # who, and where to?
        for slot, name, room in zip(batch.slots.tolist(), names, rooms, strict=True):
            if slot not in batch.refused:
                self.who[slot] = room, name
                server.subscribe(slot, room)
                server.publish(room, f"{name} has come")

    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        for slot, message in zip(batch.slots.tolist(), batch.messages.pieces(), strict=True):
            room, name = self.who[slot]
            server.publish(room, f"{name}: {message.decode(errors='replace')}")

    def on_close(self, batch: c1m.GoneBatch, server: c1m.WebSocketServer) -> None:
        for slot in batch.slots.tolist():
            room, name = self.who.pop(slot)
            server.publish(room, f"{name} has left")


if __name__ == "__main__":
    c1m.serve(Chat(), f"http://127.0.0.1:{sys.argv[1]}")
