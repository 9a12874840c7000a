"""Rows, test sets, scenarios and metrics: their keys, their order and how they are printed.

Said here and nowhere else. A new row of Table 3 needs its name here, beside its values in
``params.yaml``.
"""

from __future__ import annotations

MISSING = "—"
"""A cell without a value, in every table."""

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
"""Rows of Table 3 in its order and wording; the second method of the compendium has no row in the paper."""
PAPER_ROWS = tuple(row for row in ROW_NAMES if row != "lnclip")
"""The ten rows of the paper's own Table 3."""
FINETUNE, SBI, LNCLIP = "finetune", "sbi", "lnclip"
"""The methods that train a row, by their folders in ``methods``."""
_OTHER_METHODS = {"sbi": SBI, "lnclip": LNCLIP}

METRIC_NAMES = {"auc": "AUC (%)", "bacc": "Balanced accuracy (%)"}
METRICS = tuple(METRIC_NAMES)

TRAINING_CORPORA = ("ffpp", "celebdf2", "dfdc", "fakeavceleb", "forgerynet")
"""In the order of Table 1."""
IN_DISTRIBUTION = TRAINING_CORPORA
IN_THE_WILD = ("wilddeepfake", "itw", "dfeval2024")
# LNCLIP-DF's thirteen benchmarks, the oldest first (which thirteen is read from its code: see
# results/published).
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
AVERAGES = {"in_distribution": IN_DISTRIBUTION, "in_the_wild": IN_THE_WILD}
SCENARIOS = {
    "in_distribution": "in-distribution",
    "df40": "out-of-distribution",
    "in_the_wild": "in-the-wild",
}
"""The three scenarios by the key of their average."""
SHORT_SCENARIOS = {
    "in_distribution": "in-dist.",
    "df40": "out-of-dist.",
    "in_the_wild": "in the wild",
}
COLUMN_GROUPS = {
    SCENARIOS["in_distribution"].capitalize(): {
        "ffpp": "FF++", "celebdf2": "CDF", "dfdc": "DFDC", "fakeavceleb": "FakeAV", "forgerynet": "FNet",
        "in_distribution": "Avg",
    },
    SCENARIOS["df40"].capitalize(): {"df40_fs": "FS avg", "df40_re": "RE avg", "df40": "Avg"},
    SCENARIOS["in_the_wild"].capitalize(): {
        "wilddeepfake": "WDF", "itw": "ITW", "dfeval2024": "DF-Eval", "in_the_wild": "Avg",
    },
}  # fmt: skip
"""Columns of Table 3 with their heads; the DF40 columns are averages over manipulation methods."""
SET_NAMES = {key: name for group in COLUMN_GROUPS.values() for key, name in group.items()}
SETS = tuple(SET_NAMES)
"""Column order of Table 3."""
VALIDATION = "validation"
"""Name of the one set of predictions that is no test set: the validation split of all corpora."""


def method_of(row: str) -> str:
    """The method that trains a row: ``finetune`` but for those of other papers."""
    return _OTHER_METHODS.get(row, FINETUNE)
