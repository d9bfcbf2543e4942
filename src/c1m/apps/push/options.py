"""What the push server may be told."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from c1m.apps.options import AppOption
from c1m.arguments import FLAG, TEXT

LISTEN = "http://127.0.0.1:8000"

OPTIONS = (
    AppOption("resp", TEXT, "Also listen here for Redis's protocol: PUBLISH, SUBSCRIBE and their "
              "like.  [default: not]", "URL"),
    AppOption("admin", TEXT, "Serve /healthz, /metrics and /stats here.  [default: not]", "URL"),
    AppOption("page", FLAG, "Serve a page that subscribes and publishes, at /."),
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class PushOptions:
    """Options as OPTIONS describes them. Raises UsageError for what cannot be meant together."""

    resp: Any = None
    admin: Any = None
    page: Any = None

    def __post_init__(self) -> None:
        by_name = {option.name: option for option in OPTIONS}
        for field in fields(self):
            setattr(self, field.name, by_name[field.name].check(getattr(self, field.name)))
