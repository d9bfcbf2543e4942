"""tcp://HOST:PORT, tls://HOST:PORT, unix:///path: bytes, as a scenario frames them."""

from __future__ import annotations

from collections.abc import Sequence

from c1m.loadgen.schemes.base import Scheme, Url, no_login
from c1m.results.options import LoadOptions


class Plain(Scheme):
    """See Scheme. What else is wrong with such a target is said by parse_url."""

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        super().__init__(urls, options)
        for url in urls:
            if url.scheme != "unix":
                no_login(url, "Write tcp://HOST:PORT.")

    def places(self) -> list[str]:
        """See Scheme: as they are written."""
        return [url.text for url in self.urls]
