"""The push server's further listeners: of Redis's protocol, and for operators."""

from __future__ import annotations

from c1m.apps.push.admin import Admin
from c1m.apps.push.app import PushApp
from c1m.apps.push.redis import RedisSide
from c1m.server.by_listener import Further


def further(push: PushApp) -> list[Further]:
    """Applications with listeners of their own."""
    found, redis, options = [], None, push.options
    if options.resp is not None:
        redis = RedisSide(lambda: push.hub, push.publish, options.resp_password)
        found.append(Further([options.resp], redis, "--resp"))
    if options.admin is not None:
        found.append(Further([options.admin], Admin(push, redis), "--admin"))
    return found
