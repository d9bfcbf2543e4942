"""`python -m c1m` is `c1m`."""

from c1m.cli.main import main

main()
