"""What operators see of a server of several processes: the sums, and a little of each."""

from __future__ import annotations

import itertools
from concurrent.futures import Future
from typing import Any

from c1m.kernel.procfs import process_sample
from c1m.server import spread
from c1m.server.figures import OF_PROCESS, OF_PROCESSES, Figure, Figures

ANSWER_S = 3.0  # for all processes
KEYS = {"age": "age_s", "silent": "silent_s"}  # of a row, by what it is sorted by


class Whole:
    """Of a `Processes`. The pages are asked for by the admin listener's threads."""

    def __init__(self, processes: Any) -> None:
        self._processes = processes
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Question] = {}

    def why_unwell(self) -> str:
        """Why it is not; "" where it is."""
        return ""

    def why_not_ready(self) -> str:
        """Why no further connections are to be sent here; "" where they are welcome."""
        processes = self._processes
        if processes.is_stopping:
            return "It is stopping."
        if not any(child.takes for child in processes.children):
            return "None of its processes takes connections: they are started."
        found = self.figures()
        there = found["connections.opening"][1] + processes.statistics.live
        room = found["connections.room"][1]
        return f"It is full: {there:,} connections, room for {room:,}." if there >= room else ""

    def figures(self) -> Figures:
        """The sums, and some of each process by its number."""
        processes = self._processes
        report = processes.report()
        about, values = report.get("about", {}), report.get("figures", {})
        found: Figures = {name: (Figure(*about[name]), value) for name, value in values.items()}
        sample = process_sample()
        if sample is not None:  # of this process, which serves nobody and is one of them
            own = (sample.rss_bytes, round(sample.user_s + sample.system_s, 2), sample.threads)
            for (name, figure), value in zip(OF_PROCESS.items(), own, strict=True):
                before = found[name][1] if name in found else 0
                found[name] = (figure, round(before + value, 2))
        found["draining"] = (found["draining"][0], int(processes.is_stopping))
        return found | self._of_each()

    def _of_each(self) -> Figures:
        children = self._processes.children
        held = [child.live for child in children]
        wholes = [child.whole() for child in children]
        columns: dict[str, list[Any]] = {
            "processes.connections": held,
            "processes.share": spread.shares_of(held),
            "processes.weight": [round(float(each), 4) for each in self._processes.weights],
            "processes.cpu_seconds": [
                round(each["process"]["user_s"] + each["process"]["system_s"], 2) if each else 0
                for each in wholes
            ],
            "processes.restarts": [child.restarts for child in children],
        }
        return {
            name: (OF_PROCESSES[name], {str(n): value for n, value in enumerate(column)})
            for name, column in columns.items()
        }

    @property
    def live(self) -> int:
        """Connections that are open."""
        return int(self._processes.update_statistics().live)

    # --- connections ------------------------------------------------------------------------------

    def connections(self, sort: str, limit: int) -> list[dict[str, Any]]:
        """The first of all, by `sort`. Raises TimeoutError where a process does not answer."""
        question = _Question()
        number = next(self._numbers)

        def ask() -> None:
            self._asked[number] = question
            for child in self._processes.children:
                message = {"connections": number, "sort": sort, "limit": limit}
                if child.is_ready and child.channel.say(**message):
                    question.open.add(child.number)
            question.look()

        processes = self._processes
        processes.call_soon(ask)
        try:
            rows = question.future.result(ANSWER_S)
        finally:
            processes.call_soon(lambda: self._asked.pop(number, None))
        key = KEYS.get(sort, sort)
        return sorted(rows, key=lambda row: row[key], reverse=True)[:limit]

    def answered(self, number: int, message: dict[str, Any]) -> None:
        """A part of what a process has to say."""
        question = self._asked.get(message["answer"])
        if question is not None:
            question.rows += [{"process": number, **row} for row in message["rows"]]
            if not message["left"]:
                self._done(question, number)

    def ended(self, number: int) -> None:
        """A process has: it answers no more."""
        for question in self._asked.values():
            self._done(question, number)

    def _done(self, question: _Question, number: int) -> None:
        question.open.discard(number)
        question.look()


class _Question:
    """Who has still to answer, and what the others said."""

    def __init__(self) -> None:
        self.future: Future[list[dict[str, Any]]] = Future()
        self.open: set[int] = set()
        self.rows: list[dict[str, Any]] = []

    def look(self) -> None:
        if not self.open and not self.future.done():
            self.future.set_result(self.rows)
