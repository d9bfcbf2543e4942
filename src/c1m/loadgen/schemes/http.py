"""http://[USER:PASSWORD@]HOST[:PORT]/PATH?QUERY, https://: requests on connections that are kept.

PATH, fields and body are templates; a user and a password become the field Authorization.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import unquote

from c1m.errors import UsageError
from c1m.files import read_text
from c1m.loadgen.schemes.base import Url
from c1m.loadgen.schemes.web import Web, checked_target, name_of
from c1m.loadgen.transports.base import Transport
from c1m.loadgen.transports.http import HttpTransport
from c1m.results.options import LoadOptions, flags_given
from c1m.scenarios.base import Scenario
from c1m.scenarios.conversation import Talking
from c1m.scenarios.expected import Expected
from c1m.scenarios.http import Http as HttpScenario
from c1m.scenarios.http_requests import HttpRequests, Wanted
from c1m.scenarios.mix import weighed

FILE_BYTES_MAX = 1 << 26
WEIGHT_MAX = 1_000_000_000
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_LINE = re.compile(
    rf"(?:(?P<weight>[0-9]{{1,9}})\s+)?(?:(?P<method>{_METHOD.pattern})\s+)?(?P<path>/\S*)"
)


class Http(Web):
    """See Scheme."""

    name = "http"
    over_tls = "https"
    scenario = "http"
    takes: ClassVar[tuple[str, ...]] = (
        "headers", "method", "body", "url_file", "expect_status", "expect_headers",
        "expect_contains", "expect_json",
    )  # fmt: skip
    has_login = True

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        super().__init__(urls, options)
        login = urls[0].login
        if login is None:
            return
        if any(name_of(field) == "authorization" for field in self.fields):
            raise UsageError(
                "The target has a user, and there is a field Authorization.", "Give one of them."
            )
        said = base64.b64encode(unquote(login).encode()).decode()  # RFC 7617, 2
        self.fields.append(f"Authorization: Basic {said}")

    def scenario_for(self, options: LoadOptions) -> Scenario:
        """See Scheme."""
        if options.scenario != self.scenario:
            self._check_unused(options)
            return super().scenario_for(options)
        for option in ("message", "publishers"):
            if getattr(options, option) is not None:
                raise UsageError(
                    f"Over http:// there is no use for --{option}.",
                    "Say with --method, --body and --header what is asked for.",
                )
        scenario = HttpScenario()
        scenario.ask(
            HttpRequests(self._wanted(options), self.session(), options.body or ""),
            Expected(
                options.expect_status, options.expect_headers, options.expect,
                options.expect_contains, options.expect_json,
            ),
        )  # fmt: skip
        return scenario

    def check(self, scenario: Scenario, options: LoadOptions) -> None:
        """A conversation says its paths itself: that of the target would be passed over."""
        own = [each for each, _ in weighed(options.scenario)]
        if isinstance(scenario, Talking) and self.target != "/" and "http" not in own:
            raise UsageError(
                f"The target has a path, and {scenario.name} says itself what is asked for.",
                "Give the target without one, and whole paths in the scenario.",
            )

    def _check_unused(self, options: LoadOptions) -> None:
        """A scenario of one's own says itself what it asks for, and what is right."""
        for _, flag in flags_given(options, self.takes[1:]):
            raise UsageError(
                f"The scenario {options.scenario!r} has no use for {flag}.",
                "Leave it out, or the scenario.",
            )

    def _wanted(self, options: LoadOptions) -> list[Wanted]:
        usual = options.method or ("GET" if options.body is None else "POST")
        if not _METHOD.fullmatch(usual) or usual == "CONNECT":
            raise UsageError(f"{usual!r} is no method.", "Write it in capitals, as GET or POST.")
        if options.url_file is None:
            return [Wanted(usual, self.target)]
        if self.target != "/":
            raise UsageError(
                "The target has a path, and --url-file has others.",
                "Give the target without one: http://HOST:PORT.",
            )
        return read_urls(options.url_file, usual)

    def transport(self, scenario: Scenario, count: int, options: LoadOptions) -> Transport:
        """See Scheme."""
        most = scenario.body_most() if isinstance(scenario, HttpScenario) else None
        return HttpTransport(count, most)


def read_urls(path: str, usual: str) -> list[Wanted]:
    """The requests of a file, a line each; empty ones and those with # are passed over.

    `usual`: the method where none is written. Raises UsageError.
    """
    wanted: list[Wanted] = []
    for number, line in enumerate(read_text(path, FILE_BYTES_MAX).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match["method"] == "CONNECT" or match["weight"] == "0":
            raise UsageError(
                f"{path}, line {number}: {line.strip()[:80]!r} is no request.",
                "Write [WEIGHT] [METHOD] PATH, as '3 /cart' or 'POST /orders'.",
            )
        target = checked_target(match["path"])
        wanted.append(Wanted(match["method"] or usual, target, int(match["weight"] or 1)))
    if not wanted:
        raise UsageError(f"{path} has no requests.", "Write one a line: [WEIGHT] [METHOD] PATH.")
    return wanted
