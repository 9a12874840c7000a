"""The columns of a table of results: scenarios, their test sets, and the averages over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

SET_NAMES = {
    "ffpp": "FF++",
    "celebdf2": "CDF",
    "dfdc": "DFDC",
    "fakeavceleb": "FakeAV",
    "forgerynet": "FNet",
    "df40": "DF40",
    "df40_fs": "FS avg",
    "df40_re": "RE avg",
    "wilddeepfake": "WDF",
    "itw": "ITW",
    "dfeval2024": "DF-Eval",
    "openforensics": "OpenForensics",
}
"""Printed names of test sets; one without a name here is printed by its key."""
TITLES = {
    "in_distribution": "in-distribution",
    "df40": "out-of-distribution",
    "in_the_wild": "in-the-wild",
    "openforensics": "in-distribution",
    "miniatures": "on synthetic people",
}
"""Names of scenarios by the key of their average, or of their only test set."""
SHORT_TITLES = {
    "in_distribution": "in-dist.",
    "df40": "out-of-dist.",
    "in_the_wild": "in the wild",
    "openforensics": "in-dist.",
    "miniatures": "synthetic",
}
DF40 = "df40"
"""A test set of many methods, each scored against the same reals; its cell is their average."""
DF40_PARTS = ("df40_fs", "df40_re")
"""Cells of its methods of one category."""


@dataclass(frozen=True)
class Layout:
    """Scenario -> test sets, from ``<profile>.corpora.table`` of ``params.yaml``.

    The key of a scenario with one test set is that of the set; the key of any other is that of the
    average over its sets.
    """

    table: Mapping[str, tuple[str, ...]]

    @cached_property
    def averages(self) -> dict[str, tuple[str, ...]]:
        """Averages over test sets: key -> members."""
        return {key: sets for key, sets in self.table.items() if sets != (key,)}

    @cached_property
    def scenarios(self) -> dict[str, str]:
        """Names of the scenarios by key."""
        return {key: TITLES.get(key, key) for key in self.table}

    @cached_property
    def short_scenarios(self) -> dict[str, str]:
        """Short names of the scenarios by key."""
        return {key: SHORT_TITLES.get(key, key) for key in self.table}

    @cached_property
    def groups(self) -> dict[str, dict[str, str]]:
        """Columns of each scenario, key -> printed name; an average comes last."""
        return {
            title.capitalize(): self._columns(key, self.table[key])
            for key, title in self.scenarios.items()
        }

    @cached_property
    def names(self) -> dict[str, str]:
        """Printed names of all columns by key, in their order."""
        return {key: name for group in self.groups.values() for key, name in group.items()}

    @property
    def sets(self) -> tuple[str, ...]:
        """Keys of all columns in their order."""
        return tuple(self.names)

    def _columns(self, scenario: str, sets: tuple[str, ...]) -> dict[str, str]:
        if sets == (DF40,):
            return {**{part: SET_NAMES[part] for part in DF40_PARTS}, DF40: "Avg"}
        columns = {key: SET_NAMES.get(key, key.upper()) for key in sets}
        return columns if sets == (scenario,) else {**columns, scenario: "Avg"}


PAPER = Layout(
    {
        "in_distribution": ("ffpp", "celebdf2", "dfdc", "fakeavceleb", "forgerynet"),
        "df40": ("df40",),
        "in_the_wild": ("wilddeepfake", "itw", "dfeval2024"),
    }
)
"""Table 3 of the paper."""
