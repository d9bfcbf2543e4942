"""A page that is one file, and what a browser is told with it: to ask nobody else for anything."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib import resources

from c1m.protocols.http.responses import Response

_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


def page(package: str, name: str) -> Response:
    """A package's HTML file as a response.

    Its policy (Content Security Policy 3) lets the page's own script and style run, known by their
    hashes, and lets it talk to the server that it came from. Nothing else: no other script, also
    none in a message that it shows, no other host, no frame around it.
    """
    body = (resources.files(package) / name).read_bytes()
    hashes: dict[bytes, list[str]] = {b"script": [], b"style": []}
    for kind, text in _INLINE.findall(body):
        hashes[kind].append(f"'sha256-{b64encode(sha256(text).digest()).decode()}'")
    policy = (
        "default-src 'none'; "
        f"script-src {' '.join(hashes[b'script'])}; style-src {' '.join(hashes[b'style'])}; "
        "connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    fields = [
        ("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", policy),
        ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    ]  # fmt: skip
    return Response(200, body, fields)
