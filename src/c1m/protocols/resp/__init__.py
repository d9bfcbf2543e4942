"""RESP, Redis's protocol, without I/O: requests as a server reads them, replies as it writes them.

`requests` cuts a stream into commands, `replies` encodes replies and says where one ends. Source:
the protocol's specification, https://redis.io/docs/latest/develop/reference/protocol-spec/.
"""
