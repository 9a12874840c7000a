"""A finding: what a check saw, and the cure."""

from __future__ import annotations

from typing import NamedTuple

OK, WARNING, ERROR = "ok", "warning", "error"
STATES = (OK, WARNING, ERROR)
"""An error stops a run; a warning may change its results or its time."""


class Finding(NamedTuple):
    """What a check saw: ``state``, ``subject``, ``text`` and, unless it is ok, the ``cure``."""

    state: str
    subject: str
    text: str
    cure: str = ""

    def line(self) -> str:
        """Format the finding as one line."""
        cure = f" -> {self.cure}" if self.cure else ""
        return f"{self.state:8}{self.subject:15} {self.text}{cure}"
