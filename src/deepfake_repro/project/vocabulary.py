"""Rows, test sets, scenarios and metrics: their keys, order and printed names.

A new row of Table 3 needs its name here and its values in ``params.yaml``.
"""

from __future__ import annotations

MISSING = "—"
"""Printed in table cells without a value."""

ROW_NAMES = {
    "sbi": "SBI",
    "imagenet": "ImageNet pretrained",
    "fsfm": "FSFM",
    "fsfm_ba": "FSFM + BA",
    "fsfm_hphn": "FSFM + HP-HN",
    "fsfm_ephn": "FSFM + EP-HN",
    "fsfm_category": "FSFM + Att_categ",
    "fsfm_category_ba": "FSFM + Att_categ + BA",
    "fsfm_dataset": "FSFM + Att_dataset",
    "fsfm_dataset_ba": "FSFM + Att_dataset + BA",
    "lnclip": "LNCLIP-DF",
}
"""Rows of Table 3 in its order and wording, then the method of the second paper."""
PAPER_ROWS = tuple(row for row in ROW_NAMES if row != "lnclip")
"""The ten rows of the paper's own Table 3."""

# Methods that train a row, named after their folders in ``methods``.
FINETUNE = "finetune"
SBI = "sbi"
LNCLIP = "lnclip"
_OTHER_METHODS = {"sbi": SBI, "lnclip": LNCLIP}

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


def method_of(row: str) -> str:
    """Return the method that trains a row: ``finetune``, except for the methods of other papers."""
    return _OTHER_METHODS.get(row, FINETUNE)
