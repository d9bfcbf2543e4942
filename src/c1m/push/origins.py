"""Which web pages may talk to the server: the Origin that a browser says, and CORS. Pure.

Only browsers send Origin, and pages cannot forge it: this guards people who visit a page, not the
server from others. A page that came from the same host and port may always (it is the server's
own); others are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from c1m.errors import UsageError
from c1m.protocols.http.requests import Head

ANY = "*"
METHODS = "GET, POST, OPTIONS"
HEADERS = "Authorization, Cache-Control, Content-Type, Last-Event-ID"
PREFLIGHT_S = 86_400  # how long a browser may remember it

Lines = tuple[tuple[str, str], ...]


class Origins:
    """Those that are allowed besides the server's own: "https://app.example.com", or "*" for all.

    Raises UsageError for what is no origin.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._any = ANY in allowed
        self._allowed = {origin_of(each) for each in allowed if each != ANY}

    def allows(self, head: Head) -> bool:
        """Whether a request may be answered: it comes from an allowed page, or from none."""
        origin = head.get(b"origin")
        if origin is None or self._any:
            return True
        said = origin.decode("latin-1").lower()
        return said in self._allowed or self._is_own(said, head)

    def trusts(self, head: Head) -> bool:
        """Whether a cookie says who asks: browsers send it whatever page makes them ask.

        So the page must be one that is named, or the server's own; `*` is not enough. Of what
        changes nothing (GET), it may also be no page.
        """
        origin = head.get(b"origin")
        if origin is None:
            return head.method == b"GET"
        said = origin.decode("latin-1").lower()
        return said in self._allowed or self._is_own(said, head)

    def fields(self, head: Head) -> Lines:
        """What a browser wants to be told in the response (Fetch, 3.2)."""
        origin = head.get(b"origin")
        if origin is None or not self.allows(head):
            return ()
        said = origin.decode("latin-1")
        if said.lower() in self._allowed or self._is_own(said.lower(), head):
            return (
                ("Access-Control-Allow-Origin", said),
                ("Access-Control-Allow-Credentials", "true"),
                ("Vary", "Origin"),
            )
        return (("Access-Control-Allow-Origin", ANY),)  # which no credentials go with

    def preflight(self, head: Head) -> Lines:
        """The same for a preflight request, with what may be sent."""
        fields = self.fields(head)
        if not fields:
            return ()
        return (
            *fields,
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", HEADERS),
            ("Access-Control-Max-Age", str(PREFLIGHT_S)),
        )

    def _is_own(self, origin: str, head: Head) -> bool:
        host = (head.get(b"host") or b"").decode("latin-1").lower()
        scheme, _, place = origin.partition("://")
        default = {"http": ":80", "https": ":443"}.get(scheme)
        return default is not None and place.removesuffix(default) == host.removesuffix(default)


def origin_of(given: str) -> str:
    """As browsers write it. Raises UsageError."""
    try:
        parts = urlsplit(given)
        is_one = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or given.lower().rstrip("/") != f"{parts.scheme}://{parts.netloc}".lower():
        raise UsageError(
            f"{given!r} is no origin of web pages.",
            "Give one as https://app.example.com or http://127.0.0.1:3000, or * for all.",
        )
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc}".lower().removesuffix(default or "\0")
