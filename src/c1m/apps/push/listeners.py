"""The push server's further listener, of Redis's protocol."""

from __future__ import annotations

from c1m.apps.push.app import PushApp
from c1m.apps.push.redis import RedisSide
from c1m.server.by_listener import Further


def further(push: PushApp) -> list[Further]:
    """Applications with listeners of their own."""
    options = push.options
    if options.resp is None:
        return []
    push.redis = RedisSide(lambda: push.hub, push.publish, options.resp_password)
    return [Further([options.resp], push.redis, "--resp")]
