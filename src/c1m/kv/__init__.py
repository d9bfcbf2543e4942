"""A key-value store that speaks Redis's commands, without sockets and clocks. Pure.

`store` is everything a server keeps, `database` one of its 16 key spaces, `client` the connection
whose commands run. `commands` is the table of commands; the modules beside it (`strings`, `keys`,
`lists`, ...) fill it when `all_commands` is imported. `execute` runs one command of one client.

What a command does is Redis 7.0's documentation, https://redis.io/docs/latest/commands/; where
that is silent, what redis-server 7.0 answers.
"""
