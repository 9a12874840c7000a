"""The table of rows: which wait, run, are done or failed; redrawn in a terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass(frozen=True)
class State:
    """State of a row and what is known of it: progress while it runs, the reason of a failure."""

    name: str
    word: str
    detail: str = ""


def as_text(states: Sequence[State], width: int = 100) -> str:
    """Format one line per row, cut at ``width``, and a line that counts them."""
    column = max((len(state.name) for state in states), default=0)
    lines = [
        f"{state.name:{column}}  {state.word:7}  {state.detail}".rstrip()[:width]
        for state in states
    ]
    counts = Counter(state.word for state in states)
    total = ", ".join(
        f"{counts[word]} {word}" for word in (WAITING, RUNNING, DONE, FAILED) if counts[word]
    )
    return "\n".join([*lines, total]) + "\n"


@dataclass
class Display:
    """Shows the table: in place in a terminal, elsewhere at each change and every ``patience`` s.

    What changes only in its details, such as the time left, waits for ``patience`` in a file.
    """

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    patience: float = 60.0
    lines: int = 0
    words: tuple[str, ...] = ()
    shown: float = 0.0

    def show(self, states: Sequence[State]) -> None:
        """Show the table, if it has changed."""
        now = time.monotonic()
        words = tuple(state.word for state in states)
        if self.stream.isatty():
            text = as_text(states)
            if self.lines:
                self.stream.write(f"\x1b[{self.lines}F\x1b[J")
            self.lines = text.count("\n")
        elif words == self.words and now - self.shown < self.patience:
            return
        else:
            text = as_text(states, width=300)
        self.words = words
        self.shown = now
        self.stream.write(text)
        self.stream.flush()
