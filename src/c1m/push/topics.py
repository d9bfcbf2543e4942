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

ALL = "*"
LENGTH_MAX = 2048  # characters of a selector, and of a name
VARIABLES_MAX = 32  # of a template

_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%")
_RESERVED = frozenset(":/?#[]@!$&'()*+,;=")
_SAFE = "".join(sorted(_RESERVED | {"%", "~"}))
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


class Selectors:
    """Some selectors as one: `covers(name)`. They are parts of a token, or of a subscription.

    In `texts` a name covers itself, `*` everything and `prefix*` what begins so; in `templates`,
    which are Mercure's, `*` is everything and all else a template.
    """

    __slots__ = ("_exact", "_prefixes", "_templates", "is_all", "key")

    def __init__(self, texts: Iterable[str] = (), templates: Iterable[str] = ()) -> None:
        texts, templates = frozenset(texts), frozenset(templates)
        self.key = texts, templates  # the same for those that say the same
        self.is_all = ALL in texts or ALL in templates
        self._exact = texts | templates
        self._prefixes = tuple(text[:-1] for text in texts if text.endswith(ALL))
        self._templates = [matcher for text in templates if (matcher := template_of(text))]

    def __bool__(self) -> bool:
        return bool(self._exact)

    def covers(self, name: str) -> bool:
        """Whether one of them is about this name."""
        return (
            self.is_all
            or name in self._exact
            or name.startswith(self._prefixes)
            or any(matches(name) for matches in self._templates)
        )


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
        """What `make` makes may be missing, or come several times."""
        start = self._count
        made = len(self._skips)
        self._skips.append((0, 0))
        make()
        self._skips[made] = 1 << start, 1 << self._count
        if again:
            self._skips.append((1 << self._count, 1 << start))

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
