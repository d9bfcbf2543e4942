"""What the push server may be told."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from c1m.arguments import COUNT, DURATION, FLAG, SIZE, TEXT, TEXTS, AppOption, Choice
from c1m.errors import UsageError
from c1m.files import read_bytes, secret_line
from c1m.push.asked import CHANNELS_MAX, MESSAGE_MAX
from c1m.push.hub import HISTORY_BYTES, HISTORY_COUNT
from c1m.push.origins import Origins
from c1m.relay import options as relay
from c1m.relay.broker import Broker
from c1m.units import NS_PER_S
from c1m.web.app import PING_NS
from c1m.web.output import UNREAD

LISTEN = "http://127.0.0.1:8000"
PUBLISH_TOKEN_MIN = 16  # characters
KEY_BYTES_MAX = 64 << 10
RETRY_NS = NS_PER_S
RELAY_NAME = "c1m-push"  # of the broker's channel

OPTIONS = (
    AppOption("resp", TEXT, "Also listen here for Redis's protocol: PUBLISH, SUBSCRIBE and their "
              "like.  [default: not]", "URL"),
    AppOption("resp_password_file", TEXT, "Who comes there must say the first line of this file, "
              "which nobody else may read.", "FILE"),
    AppOption("page", FLAG, "Serve a page that subscribes and publishes, at /."),
    AppOption("publish_token", TEXT, "Publishers must say it (Authorization: Bearer TOKEN). "
              "Everybody on this machine can see it in the list of processes: a file of it is "
              "better.  [default: everybody may publish]", "TOKEN"),
    AppOption("publish_token_file", TEXT, "The token is the first line of this file, which nobody "
              "else may read.", "FILE"),
    AppOption("secret_file", TEXT, "Clients and publishers need a token (JWT) that was signed with "
              "the secret in the first line of this file: HS256, 32 bytes or more.", "FILE"),
    AppOption("public_key", TEXT, "The same with a key in PEM: RS256.", "FILE"),
    AppOption("anonymous", Choice(("subscribe",)), "What those without a token may do "
              "nevertheless.  [default: nothing]"),
    AppOption("origin", TEXTS, "Pages from here may connect, besides the server's own: "
              "https://app.example.com, or * for all. May be given more than once.", "ORIGIN"),
    AppOption("history", COUNT.within(0, 100_000), "Messages of a channel that are kept for those "
              f"who come back.  [default: {HISTORY_COUNT}]"),
    AppOption("history_bytes", SIZE.within(0, 1 << 40), "Bytes of all that is kept.  [default: "
              f"{HISTORY_BYTES >> 20}M]"),
    AppOption("history_age", DURATION, "How long a message is kept.  [default: as long as there is "
              "room]"),
    AppOption("message_max", SIZE.within(1, 64 << 20), "Bytes of one message, with the JSON around "
              f"it if there is some.  [default: {MESSAGE_MAX >> 20}M]"),
    AppOption("channels_max", COUNT.within(1, 10_000), "Channels of one connection.  [default: "
              f"{CHANNELS_MAX}]"),
    AppOption("ping", DURATION, "Each WebSocket is pinged so often, and dropped if nothing has "
              "come from it until the next ping; streams get a comment. 0: never.  "
              f"[default: {PING_NS // NS_PER_S}s]"),
    AppOption("unread", SIZE.within(64 << 10, 1 << 30), "Drop a client that leaves more than this "
              f"unread, beyond what the kernel's buffers hold.  [default: {UNREAD.hard >> 20}M]"),
    AppOption("compress", FLAG, "Agree to compress messages (permessage-deflate) where a client "
              "offers that."),
    AppOption("retry", DURATION, "How long EventSource waits before it connects again.  [default: "
              f"{RETRY_NS // NS_PER_S}s]"),
    *relay.OPTIONS,
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class PushOptions:
    """Options as OPTIONS describes them. Raises UsageError for what cannot be meant together."""

    resp: Any = None
    resp_password_file: Any = None
    resp_password: str | None = field(default=None, init=False)  # what that file has
    page: Any = None
    publish_token: Any = None
    publish_token_file: Any = None
    secret_file: Any = None
    public_key: Any = None
    anonymous: Any = None
    origin: Any = None
    history: Any = None
    history_bytes: Any = None
    history_age: Any = None  # seconds or "5m"; an int of nanoseconds once it is checked
    message_max: Any = None
    channels_max: Any = None
    ping: Any = None
    unread: Any = None
    compress: Any = None
    relay: Any = None
    relay_password_file: Any = None
    broker: Broker | None = field(default=None, init=False)  # what those two say
    retry: Any = None

    def __post_init__(self) -> None:
        by_name = {option.name: option for option in OPTIONS}
        for each in fields(self):
            if each.init:
                setattr(self, each.name, by_name[each.name].check(getattr(self, each.name)))
        for name, default in (
            ("origin", []), ("history", HISTORY_COUNT), ("history_bytes", HISTORY_BYTES),
            ("history_age", 0), ("message_max", MESSAGE_MAX), ("channels_max", CHANNELS_MAX),
            ("ping", PING_NS), ("unread", UNREAD.hard), ("retry", RETRY_NS),
        ):  # fmt: skip
            if getattr(self, name) is None:
                setattr(self, name, default)
        if 0 < self.ping < NS_PER_S:
            raise UsageError("A ping more often than every second.", "Give 1s or more, or 0.")
        Origins(self.origin)
        if self.resp_password_file is not None and self.resp is None:
            raise UsageError(
                "A password of Redis's protocol means nothing without a listener of it.",
                "Give one, too (--resp tcp://127.0.0.1:6379), or leave it out.",
            )
        if self.resp_password_file is not None:
            self.resp_password = secret_line(self.resp_password_file, "password")
        self.broker = relay.broker_in(self.relay, self.relay_password_file, RELAY_NAME)
        self._check_tokens()

    def _check_tokens(self) -> None:
        if self.publish_token is not None and self.publish_token_file is not None:
            raise UsageError("A publish token and a file of it are given.", "Give one of the two.")
        if self.secret_file is not None and self.public_key is not None:
            raise UsageError("A secret and a public key are given.", "Give one of the two.")
        if self.anonymous is not None and self.secret_file is None and self.public_key is None:
            raise UsageError(
                "What those without a token may do means nothing where nobody needs one.",
                "Give --secret-file or --public-key, too, or leave --anonymous out.",
            )
        if self.publish_token_file is not None:
            self.publish_token = secret_line(self.publish_token_file, "token")
        if not (self.publish_token or "").isascii():  # no two clients would send it alike
            raise UsageError("The publish token is not all ASCII.", "Take letters and digits.")
        if self.publish_token is not None and len(self.publish_token) < PUBLISH_TOKEN_MIN:
            raise UsageError(
                f"The publish token has {len(self.publish_token)} characters, and can be guessed.",
                f"Take {PUBLISH_TOKEN_MIN} or more: openssl rand -hex 16",
            )

    def secret(self) -> bytes | None:
        """The secret of tokens; None: there is none. Raises UsageError."""
        if self.secret_file is None:
            return None
        return secret_line(self.secret_file, "secret").encode("latin-1")

    def key(self) -> bytes | None:
        """The public key of tokens, in PEM; None: there is none. Raises UsageError."""
        if self.public_key is None:
            return None
        return read_bytes(self.public_key, KEY_BYTES_MAX)
