"""What several load clients say of the same run, said once."""

from __future__ import annotations

from c1m.cluster.found import Found
from c1m.cluster.head import Head
from c1m.cluster.sentences import explained, said_by
from c1m.results.record import Explanation, RunRecord


def parts(*rows: Explanation) -> list[Found]:
    return [
        Found(Head(part=n, of=len(rows), worker=f"w{n}"), RunRecord(explanations=[row]))
        for n, row in enumerate(rows)
    ]


def test_counts_of_all_are_added_up() -> None:
    few, more = (Explanation(n, f"{n} x EPIPE while open", "It closed.") for n in (2, 5))
    assert explained(parts(few, more)) == [Explanation(7, "7 x EPIPE while open", "It closed.")]


def test_what_the_kernel_says_to_all_is_not_added_up() -> None:
    level = Explanation(9, "TCP.tw at 9 of 10", "TIME_WAIT.")
    assert explained(parts(level, level)) == [level]
    less, most = (Explanation(n, f"Softnet.dropped +{n:,}", "Dropped.") for n in (7, 3_499))
    assert explained(parts(less, most)) == [most]


def test_words_of_one_are_not_taken_for_those_of_all() -> None:
    def said(*texts: str) -> list[str]:
        rows = parts(*(Explanation(0, text, "") for text in texts))
        return said_by(rows, lambda one: [one.record.explanations[0].what])

    assert said("It was slow.", "It was slow.") == ["It was slow."]
    assert said("3 were late.", "4 were late.") == [
        "Worker w0 (and 1 other, with other numbers): 3 were late."
    ]
    assert said("Slow.", "Slow.", "Fine.") == ["Worker w0 and 1 other: Slow.", "Worker w2: Fine."]
