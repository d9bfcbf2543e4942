"""What a run over TLS connects with."""

from __future__ import annotations

import ssl

from c1m.results.options import LoadOptions
from c1m.tls.connector import Connector


def connector(options: LoadOptions) -> Connector:
    """The issuers that are trusted, and the name that is expected."""
    context = ssl.create_default_context(cafile=options.ca)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    host = options.targets[0].partition("://")[2].rpartition(":")[0].strip("[]")
    return Connector(context, options.server_name or host)
