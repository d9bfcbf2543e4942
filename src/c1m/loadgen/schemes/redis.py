"""redis://HOST[:PORT], rediss://: Redis's protocol, by a scenario of its own."""

from __future__ import annotations

from collections.abc import Sequence

from c1m.errors import UsageError
from c1m.loadgen.schemes.base import Scheme, Url, no_login
from c1m.results.options import LoadOptions


class Redis(Scheme):
    """See Scheme."""

    name = "redis"
    over_tls = "rediss"
    port = tls_port = 6379
    scenario = "resp"

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        super().__init__(urls, options)
        for url in urls:
            no_login(url, "Test a server that asks for none, on a port that only you reach.")
            if (url.path or "/") not in ("/", "/0"):
                raise UsageError(
                    f"{url.text!r} names a database, and connections stay in database 0.",
                    "Leave it out.",
                )
