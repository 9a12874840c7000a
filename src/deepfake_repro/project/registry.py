"""Named choices of ``params.yaml``: losses, detectors, and whatever else is chosen by name."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Registry(dict[str, T]):
    """Choices of one kind by name, such as ``LOSSES = Registry("loss", {"batch_all": batch_all})``.

    The code of a stage includes only the entries that its parameters name (``project.closure``), so
    that a new entry re-runs nothing.
    """

    def __init__(self, kind: str, entries: dict[str, T]) -> None:
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name: str) -> T:
        raise ValueError(f"unknown {self.kind} {name!r}: choose one of {', '.join(self)}")
