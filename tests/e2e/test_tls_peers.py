"""Other people's TLS against ours, by ssl and handed off: a sample of the suite `tls`."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from conformance.tls import http_clients, openssl_client, openssl_server, python_client
from conformance.tls.cases import NOT_HERE, PASSED
from conformance.tls.programs import NODE, Peers
from conformance.tls.stage import Stage
from e2e.debian_servers import program
from e2e.devtools import find

PATIENCE_S = 240
SAMPLE: dict[str, tuple[ModuleType | Peers, tuple[str, ...]]] = {
    "s_client": (openssl_client, (
        *openssl_client.BY_13, "ECDHE-RSA-AES128-GCM-SHA256", "KeyUpdate, K and k",
        "resumption, TLS 1.3", "a client certificate, TLS 1.3", "no client certificate, TLS 1.3",
        "-record_padding 4096", "-maxfraglen 512, a long reply", "killed",
        "renegotiation is refused", "early data is refused",
    )),
    "s_server": (openssl_server, (
        "TLS_CHACHA20_POLY1305_SHA256", "KeyUpdate, K and k", "a client certificate, TLS 1.3",
        "killed",
    )),
    "curl": (http_clients, ("GET, POST, events, TLS_AES_256_GCM_SHA384", "ALPN")),
    "python": (python_client, ("no close_notify, half a record", "wss://")),
    "node": (Peers(NODE), ("TLS 1.3",)),
    "chromium": (http_clients, ("wss:// and EventSource",)),
}  # fmt: skip
INSTALLED = {"s_client": "openssl", "s_server": "openssl", "curl": "curl"}


@pytest.fixture(scope="module", params=[False, True], ids=["by ssl", "handed off"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Its servers are there for all cases, and their figures are right at the end."""
    with Stage(request.param) as made:
        yield made
        made.ended()


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize(
    ("peer", "what"), [(peer, what) for peer, (_, cases) in SAMPLE.items() for what in cases]
)
def test_a_peer(stage: Stage, peer: str, what: str) -> None:
    if peer in INSTALLED:
        program(INSTALLED[peer], INSTALLED[peer])
    elif peer == "chromium" and find() is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    cases = [case for case in SAMPLE[peer][0].cases() if case.what == what]
    assert cases
    for case in cases:
        result = case.tried(stage)
        if result.outcome == NOT_HERE:
            pytest.skip(result.note)
        assert result.outcome == PASSED, result.note
