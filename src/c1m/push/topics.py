"""Which names a selector covers: a name itself, `prefix*`, `*`, and a URI template. Pure.

A template (RFC 6570) covers what it can expand to. It is taken for a chain of places, one for each
character of it, some of which may be left out or come again; a name is read along it once, with all
places that it may be at as the bits of one integer. So the time is the name's length, whatever
somebody writes into a template. A prefix length ({name:3}) is read as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from urllib.parse import quote

from c1m.fanout.patterns import Patterns

ALL = "*"
LENGTH_MAX = 2048  # characters of a selector, and of a name
VARIABLES_MAX = 32  # of a template

_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%")
_RESERVED = frozenset(":/?#[]@!$&'()*+,;=")
_SAFE = "".join(sorted(_RESERVED | {"%", "~"}))
_PLAIN = re.compile(rb"[A-Za-z0-9\-._~%:/?#\[\]@!$&'()*+,;=]*")
_PART = re.compile(r"\{([^{}]*)\}|([^{}]+)|[{}]")
_VARIABLE = re.compile(r"((?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})(?:\.?(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2}))*)"
                       r"(\*|:[1-9][0-9]{0,3})?")  # fmt: skip
# By operator (RFC 6570, appendix A): what stands first, what between, and whether names are said.
_OPERATORS = {
    "": ("", ",", False), "+": ("", ",", False), "#": ("#", ",", False), ".": (".", ".", False),
    "/": ("/", "/", False), ";": (";", ";", True), "?": ("?", "&", True), "&": ("&", "&", True),
}  # fmt: skip

Matches = Callable[[str], bool]


class NoTemplate(Exception):
    """It is a name with braces in it, which covers itself only."""


# What a selector's name in a table begins with: what kind it is.
_NAME, _START, _TEMPLATE = b"=<{"
_KEPT_MAX = 4096  # names of which a table knows who covers them


def key_of(text: str, is_template: bool) -> bytes:
    """A selector as a table has it."""
    if text == ALL:
        kind, text = _START, ""
    elif is_template:
        kind = _TEMPLATE if template_of(text) else _NAME
    elif text.endswith(ALL):
        kind, text = _START, text[:-1]
    else:
        kind = _NAME
    return bytes([kind]) + text.encode()


def name_key(text: str) -> bytes:
    """The same of a name, in which nothing but `*` alone means anything."""
    return key_of(text, False) if text == ALL else bytes([_NAME]) + text.encode()


class Selectors:
    """Some selectors as one: `covers(name)`. They are a token's, and it may have many.

    In `texts` a name covers itself, `*` everything and `prefix*` what begins so; in `templates`,
    which are Mercure's, `*` is everything and all else a name or a template; in `names`, of its
    later draft, `*` is everything and all else a name.
    """

    __slots__ = ("_names", "_starts", "_templates", "is_all", "keys")

    def __init__(
        self,
        texts: Iterable[str] = (),
        templates: Iterable[str] = (),
        names: Iterable[str] = (),
    ) -> None:
        keys = [key_of(text, False) for text in texts]
        keys += [key_of(text, True) for text in templates]
        keys += [name_key(text) for text in names]
        self._take(keys)

    @classmethod
    def of(cls, keys: Iterable[bytes]) -> Selectors:
        """Those of these keys."""
        made = cls.__new__(cls)
        made._take(keys)
        return made

    def _take(self, keys: Iterable[bytes]) -> None:
        self.keys = frozenset(keys)  # the same for those that say the same
        by_kind: dict[int, list[str]] = {_NAME: [], _START: [], _TEMPLATE: []}
        for key in self.keys:
            by_kind[key[0]].append(key[1:].decode())
        self._names = frozenset(by_kind[_NAME] + by_kind[_TEMPLATE])
        self._starts = tuple(by_kind[_START])
        self._templates = tuple(
            matches for text in by_kind[_TEMPLATE] if (matches := template_of(text))
        )
        self.is_all = "" in self._starts

    def __bool__(self) -> bool:
        return bool(self.keys)

    def covers(self, name: str) -> bool:
        """Whether one of them is about this name."""
        return (
            name in self._names
            or name.startswith(self._starts)
            or any(matches(name) for matches in self._templates)
        )


class Selected(Patterns):
    """Who has which selectors, as arrays: channels whose names are those of `key_of`."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._templates: dict[bytes, Matches] = {}
        self._found: dict[str, list[bytes]] = {}

    def _start(self, pattern: bytes) -> bytes:
        if pattern[0] == _START:
            return pattern[1:]
        match = _PLAIN.match(pattern, 1)
        assert match is not None
        return match[0]

    def _matches(self, pattern: bytes, name: bytes) -> bool:
        matches = self._templates.get(pattern)  # None: it is a start, which was looked at
        return matches is None or matches(name.decode())

    def _came(self, name: bytes) -> None:
        if name[0] == _NAME:
            return
        if name[0] == _TEMPLATE:
            matches = template_of(name[1:].decode())
            assert matches is not None
            self._templates[name] = matches
        super()._came(name)
        self._found.clear()

    def _went(self, name: bytes) -> None:
        if name[0] == _NAME:
            return
        super()._went(name)
        self._templates.pop(name, None)
        self._found.clear()

    def covering(self, name: str) -> list[bytes]:
        """The selectors that are about this name."""
        found = self._found.get(name)
        if found is None:
            if len(self._found) >= _KEPT_MAX:
                self._found.clear()
            found = self._found[name] = self.matching(name.encode())
        exact = [bytes([kind]) + name.encode() for kind in (_NAME, _TEMPLATE)]
        return found + [key for key in exact if key in self and key not in found]


@lru_cache(maxsize=1024)
def template_of(text: str) -> Matches | None:
    """What says whether a name is one of a template's; None: the text is no template."""
    if "{" not in text or len(text) > LENGTH_MAX:
        return None
    try:
        return _Template(text).matches
    except NoTemplate:
        return None


class _Template:
    """Places are bits: bit 0 is before everything, bit i behind the i-th place of the chain."""

    def __init__(self, text: str) -> None:
        self._count = 0
        self._at: dict[str, int] = {}  # a character -> places that it leads to
        self._stays = 0  # places that may come again at once
        self._skips: list[tuple[int, int]] = []  # from a bit to another without a character
        self._variables = 0
        self._start = ""  # what every name begins with
        for match in _PART.finditer(text):
            if match[2] is not None:
                self._literal(quote(match[2], safe=_SAFE))
            elif match[1] is not None:
                self._expression(match[1])
            else:
                raise NoTemplate
        self._froms = 0
        for origin, _ in self._skips:
            self._froms |= origin

    def matches(self, name: str) -> bool:
        """Whether the template can expand to this."""
        if len(name) > LENGTH_MAX:
            return False
        if not name.isascii() or not name.isprintable() or " " in name:
            name = quote(name, safe=_SAFE)
        if not name.startswith(self._start):
            return False
        places, at, stays = self._skipped(1), self._at, self._stays
        for character in name:
            places = ((places << 1) | (places & stays)) & at.get(character, 0)
            if not places:
                return False
            if places & self._froms:
                places = self._skipped(places)
        return bool(places >> self._count & 1)

    def _skipped(self, places: int) -> int:
        """With those that are reached without a character. Skips are in the order of origins."""
        for origin, to in self._skips:
            if places & origin:
                places |= to
        return places

    # --- making the chain -----------------------------------------------------------------------

    def _place(self, characters: Iterable[str], stays: bool = False) -> None:
        self._count += 1
        bit = 1 << self._count
        for character in characters:
            self._at[character] = self._at.get(character, 0) | bit
        if stays:
            self._stays |= bit

    def _literal(self, text: str) -> None:
        if not self._variables:
            self._start += text
        for character in text:
            self._place(character)

    def _optional(self, make: Callable[[], None], again: bool = False) -> None:
        """What `make` makes may be missing, or come several times.

        Behind it is a place of its own, which no character leads to: who skips it is not where one
        is who has read a part of it.
        """
        start = 1 << self._count
        made = len(self._skips)
        self._skips.append((0, 0))
        make()
        end = 1 << self._count
        self._place("")
        if again:
            self._skips.append((end, start))
        self._skips.append((end, end << 1))
        self._skips[made] = start, end << 1

    def _expression(self, text: str) -> None:
        operator = text[:1] if text[:1] in _OPERATORS else ""
        variables = [_VARIABLE.fullmatch(each) for each in text[len(operator) :].split(",")]
        self._variables += len(variables)
        if self._variables > VARIABLES_MAX:
            raise NoTemplate
        first, between, is_named = _OPERATORS[operator]
        allowed = _UNRESERVED | {","}
        if operator in ("+", "#"):
            allowed |= _RESERVED
        if operator in ("", "+", "#"):  # commas are in lists, too: one stretch of characters
            if any(each and each[2] == "*" for each in variables):
                allowed |= {"="}
            self._optional(lambda: self._stretch(first, allowed))
        for each in variables:
            if each is None:
                raise NoTemplate
            if operator in ("", "+", "#"):
                continue
            is_list = each[2] == "*"  # names are those of a map's entries, or the variable's
            name = each[1] if is_named and not is_list else ""
            characters = allowed | {"="} if is_list else allowed
            self._optional(partial(self._item, {first, between}, name, characters), again=is_list)

    def _stretch(self, first: str, allowed: frozenset[str]) -> None:
        if first:
            self._place(first)
        self._optional(lambda: self._place(allowed, stays=True))

    def _item(self, signs: set[str], name: str, allowed: frozenset[str]) -> None:
        """A sign, the variable's name where it is said, and its value."""
        self._place(signs)
        for character in name:
            self._place(character)
        if name:
            self._optional(lambda: self._stretch("=", allowed))
        else:
            self._optional(lambda: self._place(allowed, stays=True))
