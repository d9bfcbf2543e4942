"""http://HOST[:PORT]/PATH?QUERY, https://: requests on connections that are kept."""

from __future__ import annotations

from c1m.loadgen.schemes.base import template_options
from c1m.loadgen.schemes.web import Web
from c1m.loadgen.transports.base import Transport
from c1m.loadgen.transports.http import HttpTransport
from c1m.results.options import LoadOptions
from c1m.scenarios.base import Scenario
from c1m.scenarios.http import Http as HttpScenario
from c1m.scenarios.loader import find_scenario


class Http(Web):
    """See Scheme."""

    name = "http"
    over_tls = "https"
    scenario = "http"

    def scenario_for(self, options: LoadOptions) -> Scenario:
        """See Scheme."""
        if options.scenario != self.scenario:
            return find_scenario(options.scenario, **template_options(options))
        scenario = HttpScenario()
        scenario.ask(self.target, self.session())
        return scenario

    def transport(self, scenario: Scenario, count: int, options: LoadOptions) -> Transport:
        """See Scheme."""
        return HttpTransport(count)
