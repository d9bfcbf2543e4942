"""The same random commands to Debian's redis-server and to `c1m serve kv`: every reply compared.

`python -m tests.conformance redis-differential --commands 1000000 --seed 7`

A *sequence* is about a thousand commands of a few connections on empty databases. It is made of
*units*, commands of one connection that belong together. Connections take turns, and the next one
begins when all that came of the one before has arrived (`playing`), so that both servers see the
same order. The first difference is made as short as it goes (`shrinking`) and printed.
"""
