"""Scores of a few videos, for tests of thresholds and breakdowns."""

from __future__ import annotations

import numpy as np
import pandas as pd


def videos(shift: float, dataset: str = "df40") -> pd.DataFrame:
    """Make four reals and four fakes of two DF40 methods, separable at 0.5 + ``shift``."""
    scores = np.array([0.3, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7]) + shift
    kinds = ["real"] * 4 + ["simswap"] * 2 + ["fomm"] * 2
    return pd.DataFrame(
        {
            "video_id": [f"{dataset}/{number}" for number in range(8)],
            "dataset": dataset,
            "manipulation": kinds,
            "category": ["REAL"] * 4 + ["FS"] * 2 + ["RE"] * 2,
            "label": [0] * 4 + [1] * 4,
            "p_fake": scores,
            "crops": 1,
        }
    )
