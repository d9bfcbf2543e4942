"""Errors of commands, in the words that Redis's clients look for."""

from __future__ import annotations


class CommandError(Exception):
    """A command was refused: `text` is the error reply, without its sign and line end."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = b"ERR value is not an integer or out of range"
NOT_A_FLOAT = b"ERR value is not a valid float"
SYNTAX = b"ERR syntax error"
NO_SUCH_KEY = b"ERR no such key"
OUT_OF_RANGE = b"ERR index out of range"


def wrong_count(name: bytes) -> CommandError:
    """A command with too many or too few arguments; `name` in lower case."""
    return CommandError(b"ERR wrong number of arguments for '%b' command" % name)


def wrong_subcommand(args: list[bytes]) -> CommandError:
    """A subcommand that itself finds that it has too many arguments."""
    return CommandError(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP."
        % (args[1], args[0].upper())
    )
