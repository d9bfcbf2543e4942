"""An application that does some Python for each HTTP request: counts letters, answers JSON."""

from __future__ import annotations

import json
from collections import Counter

import c1m

TEXT = "The work of an application, which is Python, and more than the server's own. " * 8


class Http(c1m.App):
    """GET of anything."""

    def on_pieces(self, pieces: list[tuple[int, bytes]], server: c1m.Server) -> None:
        """wrk sends a request at a time, in one piece."""
        for slot, data in pieces:
            found = Counter(TEXT + data[:20].decode("latin-1")).most_common(20)
            body = json.dumps(dict(found)).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            server.send([slot], head + body)
