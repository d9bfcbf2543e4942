"""Publications by way of a broker, against slow references.

Whatever the broker does with them, each server delivers each at most once and in order per
publisher, and counts what is missing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.push.positions import Positions
from c1m.relay.envelope import HEAD_BYTES, Envelope, packed, unpacked
from c1m.relay.numbers import Incoming, Outgoing

ORIGINS = ("0123456789ab", "ba9876543210", "cccccccccccc")
NUMBERS = st.integers(0, (1 << 64) - 1)


@given(st.sampled_from(ORIGINS), NUMBERS, st.lists(st.binary(max_size=40), max_size=5))
def test_an_envelope_comes_out_as_it_went_in(origin: str, first: int, items: list[bytes]) -> None:
    payload = packed(origin, first, items)
    assert unpacked(payload) == Envelope(origin, first, items)
    for end in range(len(payload)):
        assert unpacked(payload[:end]) is None
    assert unpacked(payload + b"x") is None


@given(st.binary(max_size=80), st.integers(0, 60), st.integers(0, 255))
def test_what_is_no_envelope_is_passed_over(noise: bytes, at: int, byte: int) -> None:
    assert unpacked(noise) is None or noise.startswith(b"c1m\x01")
    payload = bytearray(packed(ORIGINS[0], 7, [b"one", b"two"]))
    payload[at % len(payload)] = byte
    found = unpacked(bytes(payload))
    assert found is None or sum(map(len, found.items)) <= len(payload) - HEAD_BYTES


@st.composite
def what_comes(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Envelopes as a broker may bring them: (origin, first, count); some again, late or never."""
    found = []
    for origin in ORIGINS[: draw(st.integers(1, 3))]:
        first = draw(st.integers(1, 1000))
        for count in draw(st.lists(st.integers(0, 4), max_size=12)):
            found.append((origin, first, count))
            first += count
    kept = [each for each in found if draw(st.integers(0, 4))]
    again = draw(st.lists(st.sampled_from(kept), max_size=4)) if kept else []
    for each in again:
        kept.insert(draw(st.integers(0, len(kept))), each)
    return kept


@given(what_comes())
def test_each_is_delivered_once_and_in_order(envelopes: list[tuple[str, int, int]]) -> None:
    incoming = Incoming()
    delivered: dict[str, list[int]] = {}
    begun: dict[str, int] = {}
    came = 0
    for origin, first, count in envelopes:
        passed, missing = incoming.take(origin, first, count)
        begun.setdefault(origin, first)
        had = delivered.setdefault(origin, [])
        newest = had[-1] if had else begun[origin] - 1
        wanted = [number for number in range(first, first + count) if number > newest]
        # A number between those that were missing may have been passed by an empty envelope.
        assert [*range(first + passed, first + count)] == wanted or not missing
        had += range(first + passed, first + count)
        came += count
    for numbers in delivered.values():
        assert numbers == sorted(set(numbers))
    in_all = sum(map(len, delivered.values()))
    assert incoming.doubles == came - in_all
    ends = {o: max((f + c for p, f, c in envelopes if p == o)) for o in begun}
    assert incoming.missed == sum(ends[o] - begun[o] - len(delivered[o]) for o in begun)


@given(st.lists(st.sampled_from(["add", "came", "skip", "send", "broken"]), max_size=60))
def test_who_published_is_told_once(steps: list[str]) -> None:
    """`sent` is how far the link is, `back` how far the broker."""
    outgoing = Outgoing()
    fates: Counter[str] = Counter()
    made: list[str] = []
    sent = back = 0

    def told(name: str) -> object:
        return lambda fate: fates.update([f"{name} {fate}"])

    for step in steps:
        if step == "add":
            made.append(f"p{len(made)}")
            number = outgoing.add(10, told(made[-1]))  # type: ignore[arg-type]
            assert number == outgoing.next - 1
        elif step == "send":
            sent = outgoing.next - 1
        elif step in ("came", "skip") and back + (step == "skip") < sent:
            back += 1 + (step == "skip")
            one, lost = outgoing.came(back)
            assert len(lost) == (step == "skip")
            one("came")
            for each in lost:
                each("unknown")
        elif step == "broken":
            unknown, refused = outgoing.broken(sent)
            assert (len(unknown), outgoing.next) == (sent - back, sent + 1)
            for each in unknown:
                each("unknown")
            for each in refused:
                each("refused")
            back = sent
        assert outgoing.bytes == 10 * len(outgoing)
    assert sum(fates.values()) + len(outgoing) == len(made)
    assert set(fates.values()) <= {1}


@pytest.mark.parametrize("runs_max", [4, 1 << 18])
@given(data=st.data())
def test_an_id_leads_to_its_place(runs_max: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("c1m.push.positions.RUNS_MAX", runs_max)
        positions = Positions()
        places: dict[str, list[tuple[int, int]]] = {}
        steps = st.lists(st.tuples(st.sampled_from(ORIGINS), st.integers(1, 3)), max_size=40)
        for place, (origin, step) in enumerate(data.draw(steps), 1):
            had = places.setdefault(origin, [])
            had.append(((had[-1][0] if had else 0) + step, place))
            positions.add(origin, had[-1][0], place)
        for origin, had in places.items():
            numbers = [number for number, _ in had]
            for number in range(numbers[-1] + 2):
                found = positions.find(origin, number)
                row = bisect_right(numbers, number) - 1
                if number > numbers[-1] or row < 0:
                    assert found is None
                elif found is None:
                    assert runs_max == 4  # it was too long ago
                elif numbers[row] == number:
                    assert found == had[row][1]
                else:  # it never came: what comes behind it here is still to come
                    assert had[row][1] <= found < had[row + 1][1]
        assert positions.find("nobody", 1) is None
