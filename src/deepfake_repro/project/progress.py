"""Progress of long work: what, done/total, rate and time left, in the terminal and in Jupyter.

Progress goes to stderr: the notebook runner streams it live and leaves it out of the stored
notebook, whose bytes must not depend on how fast the machine was.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sized
from typing import TypeVar

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_auto

T = TypeVar("T")
LINES = "DEEPFAKE_REPRO_PROGRESS_LINES"
"""Set by the notebook runner: one plain line every few seconds instead of a bar that redraws itself."""


def track(items: Iterable[T], what: str, total: int | None = None) -> tqdm:
    """Iterate over ``items`` showing progress under the label ``what``."""
    total = len(items) if total is None and isinstance(items, Sized) else total
    once = iter(
        items
    )  # tqdm.auto starts its iterable twice: a DataLoader would draw another order and fork twice
    if os.environ.get(LINES):
        return tqdm(
            once,
            desc=what,
            total=total,
            file=sys.stderr,
            mininterval=5,
            maxinterval=10,
            ascii=True,
            bar_format="{desc}: {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left{postfix}\n",
        )
    return tqdm_auto(once, desc=what, total=total)
