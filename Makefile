# `make demo` and `make test` set up what they need. Everything else is for people who work on c1m.
.PHONY: demo demo-push test lint format docs setup programs clean conformance bench bench-asyncio bench-kv bench-push bench-tls bench-light bench-load bench-million bench-quick bench-peers bench-page torture

setup:
	@./setup.sh

demo: setup
	@.venv/bin/c1m demo

# A push server and 1,000,000 WebSocket subscribers, who are published ten messages: some minutes.
demo-push: setup
	@.venv/bin/c1m demo --push --out c1m-demo-push

test: setup programs lint
	.venv/bin/python tests/side_by_side.py

# CPython's tests of asyncio, uvloop's, and those of packages, on c1m's event loop; for the key-value
# server a million random commands beside redis-server, Redis's own tests and redis-py's; for WebSockets
# the Autobahn test suite; other people's TLS against ours: an hour and more. `make conformance PYTHON=python3.13 SUITES=cpython` runs one
# suite on another interpreter.
CONFORMANCE = .venv/bin/python -m tests.conformance
conformance: setup
	$(CONFORMANCE) $(or $(SUITES),cpython uvloop) $(if $(PYTHON),--python $(PYTHON)) $(ARGS)
	$(if $(SUITES),,$(CONFORMANCE) packages)
	$(if $(SUITES),,$(CONFORMANCE) redis-differential)
	$(if $(SUITES),,$(CONFORMANCE) redis-tcl)
	$(if $(SUITES),,$(CONFORMANCE) redis-py)
	$(if $(SUITES),,$(CONFORMANCE) redis-py-cluster)
	$(if $(SUITES),,$(CONFORMANCE) kv-crash)
	$(if $(SUITES),,$(CONFORMANCE) autobahn)
	$(if $(SUITES),,$(CONFORMANCE) tls)

# What must not fall over, at full length: some hours. `make torture TESTS='churn hostile' SCALE=0.01` runs a
# hundredth of two of them.
torture: setup
	.venv/bin/python -m tests.torture $(TESTS) --scale $(or $(SCALE),1) \
	--json $(or $(JSON),bench/results/$(shell date +%F)-torture.json)

programs:
	@./setup.sh programs

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# The pages, and the API reference from the docstrings, as build/docs/index.html. Warnings are errors.
docs: setup
	.venv/bin/python tests/reference_tables.py
	.venv/bin/mkdocs build --strict --quiet
	@echo "docs: open build/docs/index.html"

# The peers are packages of the extra `bench`; gcc is needed, Go is compared where it is installed.
# More: bench/README.md.
bench: setup bench-peers
	.venv/bin/python bench/run.py --name $(or $(NAME),all) $(ARGS)
	.venv/bin/python bench/run.py --million --largest --subscribers --name $(or $(NAME),all)-million
	$(MAKE) bench-kv

# What needs a million connections and more, alone: about twenty minutes.
bench-million: setup
	.venv/bin/python bench/run.py --million --largest --subscribers --name $(or $(NAME),million) $(ARGS)

# The asyncio event loop against uvloop, and under light load the C loop: about ten minutes.
# HTTP is measured where wrk is installed (apt-get install wrk).
bench-asyncio: setup bench-peers
	.venv/bin/python bench/run.py --asyncio --name $(or $(NAME),asyncio) $(ARGS)

# The key-value server against redis-server (apt-get install redis): about ten minutes.
bench-kv: setup
	.venv/bin/python bench/key_values.py --idle --json bench/results/$(shell date +%F)-key-values.json $(ARGS)

# The push server against Node.js with ws, uvicorn, Go, nginx with nchan: ten minutes; what is not
# installed is left out. ARGS='--nice -15' as root on a machine that others use too.
# UWEBSOCKETS=DIRECTORY: a clone of uWebSockets with its submodule uSockets.
bench-push: setup bench-peers
	.venv/bin/python bench/push.py --json bench/results/$(shell date +%F)-push.json \
	$(if $(UWEBSOCKETS),--uwebsockets $(UWEBSOCKETS)) $(ARGS)

# TLS against nginx, HAProxy, uvicorn, asyncio (apt-get install nginx libnginx-mod-stream haproxy
# libssl-dev): a quarter of an hour; what is not installed is left out. ARGS as of bench-push.
bench-tls: setup bench-peers
	.venv/bin/python bench/tls.py --json bench/results/$(shell date +%F)-tls.json $(ARGS)

# The load client's own part of latencies and of a core under light load, beside the C generator: two
# minutes. ARGS as of bench-push.
bench-light: setup
	.venv/bin/python bench/light.py --json bench/results/$(shell date +%F)-light.json $(ARGS)

# The load client against wrk, h2load, redis-benchmark (apt-get install wrk nghttp2-client redis nginx):
# five minutes; what is not installed is left out. ARGS as of bench-push.
bench-load: setup
	.venv/bin/python bench/load_tools.py --json bench/results/$(shell date +%F)-load-tools.json $(ARGS)

bench-quick: setup bench-peers
	.venv/bin/python bench/run.py --quick $(ARGS)

# docs/explanation/benchmarks.md: what is in bench/history, plotted over commits.
bench-page: setup
	.venv/bin/python bench/history.py

bench-peers: setup
	@.venv/bin/python -c 'import uvloop, gevent, rloop, uvicorn, httptools, websockets, wsproto' 2>/dev/null || \
	python3 -m pip --disable-pip-version-check --python .venv/bin/python install -q -e '.[bench]' || \
	echo "bench: some peers could not be installed and are left out" >&2

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache c1m-demo c1m-demo-push
