"""Applications of HTTP, WebSocket and server-sent events: on a server, without a row of Python's
own for an idle connection."""
