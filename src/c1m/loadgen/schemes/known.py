"""The schemes that targets may have, and what the options of a run mean with them."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from c1m.errors import UsageError
from c1m.loadgen.schemes.base import Scheme, Url
from c1m.loadgen.schemes.http import Http
from c1m.loadgen.schemes.mqtt import Mqtt
from c1m.loadgen.schemes.plain import Plain
from c1m.loadgen.schemes.publishing import Events, WebSocket
from c1m.loadgen.schemes.redis import Redis
from c1m.results.options import LoadOptions, flag_of, flags_given

KINDS: tuple[type[Scheme], ...] = (Plain, Http, WebSocket, Events, Redis, Mqtt)
SCHEMES = {name: kind for kind in KINDS for name in (kind.name, kind.over_tls)} | {"unix": Plain}

_PLACE = re.compile(r"(?:\[[^\]]+\]|[^:\[\]]+)(?::([0-9]{1,9})(?:-[0-9]+)?)?")
CONNECTIONS = 10  # where it is not said how many
HOLD_NS = 10_000_000_000  # where it is not said how long


def meant(options: LoadOptions) -> tuple[Scheme, LoadOptions]:
    """What is spoken with the targets, and the options with targets as endpoints, and what is
    usual where nothing was said.

    Raises UsageError for what cannot be done, and for targets that speak different things.
    """
    if not options.targets:
        raise UsageError("There is no target.", "Name one, as in tcp://127.0.0.1:8001.")
    _check_texts(options)
    urls = [Url.of(text) for text in options.targets]
    kinds = [_kind_of(url) for url in urls]
    if any(kind is not kinds[0] for kind in kinds):
        raise UsageError(
            "The targets speak different things.", f"Give all of them as {urls[0].scheme}://."
        )
    if len({url.scheme == kinds[0].over_tls for url in urls}) > 1:
        raise UsageError(
            "Some targets are over TLS, others are not.",
            f"Load them one after the other, or give all of them as {kinds[0].over_tls}://.",
        )
    for url in urls:
        _check_place(url)
    _check_unused(kinds[0], options)
    scheme = kinds[0](urls, options)
    options = replace(
        options,
        targets=scheme.places(),
        scenario=options.scenario or scheme.scenario,
    )
    return scheme, _with_load(scheme, options)


def _check_texts(options: LoadOptions) -> None:
    """Raise UsageError for what is no text. Messages and bodies may be any bytes."""
    for name in ("targets", "headers", "expect_headers", "topic", "client_id", "will"):
        text = getattr(options, name) or ""
        if not isinstance(text, str):
            text = "".join(text)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            flag = "The target" if name == "targets" else flag_of(name)
            raise UsageError(f"{flag} has bytes that are not UTF-8.", "Write it in UTF-8.")


def _kind_of(url: Url) -> type[Scheme]:
    if url.scheme in SCHEMES:
        return SCHEMES[url.scheme]
    near = difflib.get_close_matches(url.scheme, SCHEMES, 1)
    hint = f"Is {near[0]}:// meant? " if near else ""
    raise UsageError(
        f"The scheme of {url.shown!r} is unknown.",
        f"{hint}There are: {', '.join(f'{name}://' for name in SCHEMES)}.",
    )


def _check_place(url: Url) -> None:
    """Raise UsageError where it is not said where to, in the target's own words; what is bytes is
    an endpoint, of which parse_url says more."""
    match = _PLACE.fullmatch(url.place)
    if SCHEMES[url.scheme] is not Plain and (match is None or int(match[1] or 0) > 65535):
        raise UsageError(
            f"{url.shown!r} has no host, or a port that is none.",
            f"Write {url.scheme}://HOST or {url.scheme}://HOST:PORT, with a PORT up to 65535.",
        )


def _check_unused(kind: type[Scheme], options: LoadOptions) -> None:
    """Raise UsageError for an option that only other protocols have a use for."""
    taken = dict.fromkeys(name for each in KINDS for name in each.takes)
    for name, flag in flags_given(options, (name for name in taken if name not in kind.takes)):
        takers = [f"{scheme}://" for scheme, each in SCHEMES.items() if name in each.takes]
        raise UsageError(
            f"{flag} is of no use with {kind.name}://.",
            f"Leave it out, or write the target as {', '.join(takers)}.",
        )


def _with_load(scheme: Scheme, options: LoadOptions) -> LoadOptions:
    """Where no load is asked for, every connection of a protocol that is known keeps asking for a
    while; and ten do where only a target was given. Of bytes those that are open ask once."""
    if options.stages or (
        isinstance(scheme, Plain) and options.connections and not is_load(options)
    ):
        return options
    is_silent = options.scenario == "hold" or getattr(options.scenario, "is_silent", False)
    return replace(
        options,
        connections=options.connections or CONNECTIONS,
        think_ns=options.think_ns if is_load(options) or is_silent else 0,
        hold_ns=options.hold_ns or HOLD_NS,
    )


def is_load(options: LoadOptions) -> bool:
    """Whether they say how requests are to come."""
    return (options.rate_per_s, options.think_ns, options.churn_per_s) != (None, None, None)
