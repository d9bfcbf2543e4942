# `make demo` and `make test` set up what they need. Everything else is for people who work on c1m.
.PHONY: demo test lint setup clean

setup:
	@./setup.sh

demo: setup
	@.venv/bin/c1m demo

test: setup lint
	.venv/bin/python -m pytest

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache c1m-demo
