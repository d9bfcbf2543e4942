"""Long runs of random input: `python -m tests.fuzz resp --seconds 60`."""
