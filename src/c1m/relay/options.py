"""What servers may be told of a broker: `--relay`, and the file of its password."""

from __future__ import annotations

from c1m.arguments import TEXT, AppOption
from c1m.errors import UsageError
from c1m.files import secret_line
from c1m.relay.broker import Broker, broker_of
from c1m.relay.sessions import check_client

OPTIONS = (
    AppOption("relay", TEXT, "Publish by way of this broker, to the subscribers of all servers "
              "that do: redis://HOST:PORT, rediss://, redis+unix:///PATH or nats://HOST:PORT; "
              "/NAME behind it is a channel of its own there.  [default: to our own subscribers]",
              "URL"),
    AppOption("relay_password_file", TEXT, "The broker's password is the first line of this file, "
              "which nobody else may read.", "FILE"),
)  # fmt: skip


def broker_in(url: str | None, password_file: str | None, name: str) -> Broker | None:
    """What the two options say; `name` is that of the broker's channel, where the URL has none.

    Raises UsageError for what cannot be meant, and where the broker's client is not installed.
    """
    if url is None:
        if password_file is not None:
            raise UsageError(
                "A password of a broker means nothing without one.",
                "Give it, too (--relay redis://127.0.0.1:6379), or leave it out.",
            )
        return None
    password = None if password_file is None else secret_line(password_file, "password")
    broker = broker_of(url, name, password)
    check_client(broker)
    return broker
