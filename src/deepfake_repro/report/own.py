"""Scores of the rows on test corpora of your own, with the intervals of Table 3."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..evaluation.statistics import intervals, paired_bootstrap
from ..project.recipes import Scoring
from ..project.vocabulary import METRICS
from .scores import read_scores

_CELL = ["row", "metric", "corpus"]
_COUNTS = ["scored", "unscored", "sources"]
COLUMNS = [*_CELL, "reproduced", "low", "high", "sd", *_COUNTS]


def own_scores(
    folder: Path, runs: Sequence[str], corpora: Iterable[str], scoring: Scoring
) -> pd.DataFrame:
    """Tabulate AUC and balanced accuracy, percent, per row, metric and corpus: ``COLUMNS``.

    ``folder``: ``results/<profile>/runs``; ``runs``: names ``<row>-<seed>`` in it; ``corpora``:
    names in ``data/own_corpora.yaml``. ``low, high``: the 95 % interval over videos; ``sd``: over
    seeds; then numbers of videos and of people or source videos. A corpus that no run has been
    scored on is left out; one without both classes has numbers of videos only.
    """
    tables = [
        _scores_on(corpus, folder, scored, scoring)
        for corpus in corpora
        if (scored := [run for run in runs if (folder / run / _file(corpus)).is_file()])
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _scores_on(corpus: str, folder: Path, runs: Sequence[str], scoring: Scoring) -> pd.DataFrame:
    rows = read_scores(folder, runs, _file(corpus))
    videos = {run: pd.read_csv(folder / run / _file(corpus, "csv")) for run in runs}
    draws = paired_bootstrap(videos, scoring.bootstrap, seed=0, threshold=scoring.threshold)
    ends = intervals(draws, [corpus]).set_index(["row", "metric"])[["low", "high"]]
    records = [
        {
            "row": row,
            "metric": metric,
            "corpus": corpus,
            "reproduced": scores[metric].get(corpus),
            "sd": scores.get("sd", {}).get(metric, {}).get(corpus),
            **{kind: scores["videos"][kind].get(corpus, 0) for kind in _COUNTS},
        }
        for row, scores in rows.items()
        for metric in METRICS
    ]
    table = pd.DataFrame(records).join(ends, on=["row", "metric"])
    return table[COLUMNS].astype(dict.fromkeys(["reproduced", "low", "high", "sd"], "float64"))


def _file(corpus: str, suffix: str = "json") -> str:
    return f"own/{corpus}.{suffix}"
