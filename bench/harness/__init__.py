"""The benchmark: building, starting, measuring, counting. `run.py` beside it is the command."""
