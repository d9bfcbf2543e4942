"""tcp://HOST:PORT, tls://HOST:PORT, unix:///path: bytes, as a scenario frames them."""

from __future__ import annotations

from c1m.loadgen.schemes.base import Scheme


class Plain(Scheme):
    """See Scheme. What is wrong with such a target is said by parse_url."""

    def places(self) -> list[str]:
        """See Scheme: as they are written."""
        return [url.text for url in self.urls]
