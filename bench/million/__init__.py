"""The part of the benchmark that has a million connections open: `run.py --million`."""
