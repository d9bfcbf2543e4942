"""c1m: a million and more concurrent TCP connections in one Python thread.

From the top down; each imports what is below it, and a test holds them to that:

    cli         commands: parse, call, print                 report      text, HTML, comparison
    loadgen     plans, opens, checks, measures               apps        echo, kv, push
    serving     `c1m.serve`                                  aio         asyncio's event loop
    web         HTTP, WebSocket, server-sent events          kv, push    what these servers hold
    server      an App's callbacks, what operators see, how it starts and stops
    scenarios   what is said, and what replies are right     limits      what bounds a machine
    loop        the loop of server and loadgen               results     what a run is: the record
    fanout      channels, messages on their way to many
    tls, guard  around an engine: handshakes, records;       testing     a fake kernel, a clock
                limits of servers
    engine      one contract: uring, epoll                   protocols   framing, RESP, HTTP, frames
    kernel      the only package that meets the kernel
    errors, bounds, clock, units, addresses, files, arguments: leaves

Public names: App and its batches, Server, WebSocketApp and its batches, WebSocketServer, Push,
ProtocolServer, EventLoop, new_event_loop, run, serve, TLS, Limits, Figure, load, Scenario,
Conversation, what it says (Say, Hear, Get, Post, Put, Delete, Request, Command, Publish, Subscribe,
Unsubscribe, Pause), what its keys have (hash_tag) and what it hears (Response, ErrorReply,
MqttMessage), check, feeder, Message,
CloseReason, Failure, Ragged, RecordInbox, RunRecord and the errors.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if "numpy" not in sys.modules:
    # NumPy's linear algebra starts a thread a core when it is imported. Nothing here uses it, and a
    # server of one thread should be one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    from c1m.aio.loop import EventLoop as EventLoop
    from c1m.aio.loop import new_event_loop as new_event_loop
    from c1m.aio.loop import run as run
    from c1m.aio.serving import ProtocolServer as ProtocolServer
    from c1m.apps.push.push import Push as Push
    from c1m.engine.ragged import Ragged as Ragged
    from c1m.errors import C1mError as C1mError
    from c1m.errors import LimitError as LimitError
    from c1m.errors import ScenarioError as ScenarioError
    from c1m.errors import UsageError as UsageError
    from c1m.guard.options import Limits as Limits
    from c1m.loading import load as load
    from c1m.protocols.resp.values import ErrorReply as ErrorReply
    from c1m.results.record import RunRecord as RunRecord
    from c1m.scenarios.asks import Delete as Delete
    from c1m.scenarios.asks import Get as Get
    from c1m.scenarios.asks import Hear as Hear
    from c1m.scenarios.asks import Pause as Pause
    from c1m.scenarios.asks import Post as Post
    from c1m.scenarios.asks import Put as Put
    from c1m.scenarios.asks import Request as Request
    from c1m.scenarios.asks import Response as Response
    from c1m.scenarios.asks import Say as Say
    from c1m.scenarios.asks_mqtt import MqttMessage as MqttMessage
    from c1m.scenarios.asks_mqtt import Publish as Publish
    from c1m.scenarios.asks_mqtt import Subscribe as Subscribe
    from c1m.scenarios.asks_mqtt import Unsubscribe as Unsubscribe
    from c1m.scenarios.base import Scenario as Scenario
    from c1m.scenarios.checks import check as check
    from c1m.scenarios.commands import Command as Command
    from c1m.scenarios.commands import hash_tag as hash_tag
    from c1m.scenarios.conversation import Conversation as Conversation
    from c1m.scenarios.feeders import feeder as feeder
    from c1m.scenarios.messages import Message as Message
    from c1m.server.failures import Failure as Failure
    from c1m.server.figures import Figure as Figure
    from c1m.server.records import RecordInbox as RecordInbox
    from c1m.server.server import App as App
    from c1m.server.server import CloseBatch as CloseBatch
    from c1m.server.server import DataBatch as DataBatch
    from c1m.server.server import OpenBatch as OpenBatch
    from c1m.server.server import Server as Server
    from c1m.server.statistics import CloseReason as CloseReason
    from c1m.serving import serve as serve
    from c1m.tls.options import TLS as TLS
    from c1m.web.app import GoneBatch as GoneBatch
    from c1m.web.app import MessageBatch as MessageBatch
    from c1m.web.websocket_app import ConnectBatch as ConnectBatch
    from c1m.web.websocket_app import WebSocketApp as WebSocketApp
    from c1m.web.websocket_server import WebSocketServer as WebSocketServer
    from c1m.web.websocket_server import WebSocketStatistics as WebSocketStatistics

# fmt: off
_NAMES = {  # the public ones, by their modules
    "c1m.aio.loop": ["EventLoop", "new_event_loop", "run"],
    "c1m.aio.serving": ["ProtocolServer"],
    "c1m.apps.push.push": ["Push"],
    "c1m.engine.ragged": ["Ragged"],
    "c1m.errors": ["C1mError", "LimitError", "ScenarioError", "UsageError"],
    "c1m.loading": ["load"],
    "c1m.results.record": ["RunRecord"],
    "c1m.protocols.resp.values": ["ErrorReply"],
    "c1m.scenarios.asks": [
        "Delete", "Get", "Hear", "Pause", "Post", "Put", "Request", "Response", "Say",
    ],
    "c1m.scenarios.asks_mqtt": ["MqttMessage", "Publish", "Subscribe", "Unsubscribe"],
    "c1m.scenarios.base": ["Scenario"],
    "c1m.scenarios.checks": ["check"],
    "c1m.scenarios.commands": ["Command", "hash_tag"],
    "c1m.scenarios.conversation": ["Conversation"],
    "c1m.scenarios.feeders": ["feeder"],
    "c1m.scenarios.messages": ["Message"],
    "c1m.server.failures": ["Failure"],
    "c1m.server.figures": ["Figure"],
    "c1m.server.records": ["RecordInbox"],
    "c1m.server.server": ["App", "CloseBatch", "DataBatch", "OpenBatch", "Server"],
    "c1m.server.statistics": ["CloseReason"],
    "c1m.serving": ["serve"],
    "c1m.guard.options": ["Limits"],
    "c1m.tls.options": ["TLS"],
    "c1m.web.app": ["GoneBatch", "MessageBatch"],
    "c1m.web.websocket_app": ["ConnectBatch", "WebSocketApp"],
    "c1m.web.websocket_server": ["WebSocketServer", "WebSocketStatistics"],
}
# fmt: on
_PLACES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: `c1m --help` should not wait for NumPy."""
    if name in _PLACES:
        value = getattr(importlib.import_module(_PLACES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'c1m' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
