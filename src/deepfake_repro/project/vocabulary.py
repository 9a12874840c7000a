"""Methods, test sets, scenarios and metrics: their keys, order and printed names.

The rows of Table 3, with their names and order, are in ``params.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from .layout import PAPER
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
IN_DISTRIBUTION = PAPER.table["in_distribution"]
IN_THE_WILD = PAPER.table["in_the_wild"]
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
SCENARIOS = PAPER.scenarios
"""Scenarios of Table 3 by the key of their average."""
SHORT_SCENARIOS = PAPER.short_scenarios
SET_NAMES = PAPER.names
SETS = PAPER.sets
"""Column order of Table 3."""
VALIDATION = "validation"
"""Prediction set of the validation split of all corpora, the only one that is not a test set."""
