"""Methods, test sets, scenarios and metrics: their keys, order and printed names.

The rows of Table 3, with their names and order, are in ``params.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from .params import current
from .recipes import FINETUNE as FINETUNE
from .recipes import LNCLIP as LNCLIP
from .recipes import SBI as SBI

MISSING = "—"
"""Printed in table cells without a value."""


class RowNames(Mapping[str, str]):
    """Printed names of the rows by key, in their order, as in ``params.yaml``."""

    def __getitem__(self, row: str) -> str:
        return current().variants[row].name

    def __iter__(self) -> Iterator[str]:
        return iter(current().variants)

    def __len__(self) -> int:
        return len(current().variants)

    def __ror__(self, others: dict[str, str]) -> dict[str, str]:
        return {**others, **self}


class PaperRows(Sequence[str]):
    """The ten rows of the paper's own Table 3: those that ``params.yaml`` marks ``in_paper``."""

    @overload
    def __getitem__(self, position: int) -> str: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[str]: ...

    def __getitem__(self, position: int | slice) -> str | Sequence[str]:
        return current().paper_rows[position]

    def __len__(self) -> int:
        return len(current().paper_rows)


ROW_NAMES = RowNames()
PAPER_ROWS = PaperRows()


def method_of(row: str) -> str:
    """Return the method that trains a row; ``ValueError`` for a row that is not in params.yaml."""
    return current().method_of(row)


METRIC_NAMES = {"auc": "AUC (%)", "bacc": "Balanced accuracy (%)"}
METRICS = tuple(METRIC_NAMES)

TRAINING_CORPORA = ("ffpp", "celebdf2", "dfdc", "fakeavceleb", "forgerynet")
"""Training corpora in the order of Table 1."""
IN_DISTRIBUTION = TRAINING_CORPORA
IN_THE_WILD = ("wilddeepfake", "itw", "dfeval2024")
LNCLIP13 = (
    "dfd",
    "uadfv",
    "celebdf2",
    "dfdc",
    "faceshifter",
    "fakeavceleb",
    "ffiw",
    "kodf",
    "dfdm",
    "deepspeak1",
    "idforge",
    "polyglotfake",
    "deepspeak2",
)
"""LNCLIP-DF's thirteen benchmarks, oldest first; inferred from its code (results/published)."""
AVERAGES = {"in_distribution": IN_DISTRIBUTION, "in_the_wild": IN_THE_WILD}
SCENARIOS = {
    "in_distribution": "in-distribution",
    "df40": "out-of-distribution",
    "in_the_wild": "in-the-wild",
}
"""Scenarios by the key of their average."""
SHORT_SCENARIOS = {
    "in_distribution": "in-dist.",
    "df40": "out-of-dist.",
    "in_the_wild": "in the wild",
}
COLUMN_GROUPS = {
    SCENARIOS["in_distribution"].capitalize(): {
        "ffpp": "FF++",
        "celebdf2": "CDF",
        "dfdc": "DFDC",
        "fakeavceleb": "FakeAV",
        "forgerynet": "FNet",
        "in_distribution": "Avg",
    },
    SCENARIOS["df40"].capitalize(): {"df40_fs": "FS avg", "df40_re": "RE avg", "df40": "Avg"},
    SCENARIOS["in_the_wild"].capitalize(): {
        "wilddeepfake": "WDF",
        "itw": "ITW",
        "dfeval2024": "DF-Eval",
        "in_the_wild": "Avg",
    },
}
"""Columns of Table 3 by scenario; the DF40 columns are averages over manipulation methods."""
SET_NAMES = {key: name for group in COLUMN_GROUPS.values() for key, name in group.items()}
SETS = tuple(SET_NAMES)
"""Column order of Table 3."""
VALIDATION = "validation"
"""Prediction set of the validation split of all corpora, the only one that is not a test set."""
