"""Long tests of what must not fall over: `make torture`. A sample of each is in `make test`."""
