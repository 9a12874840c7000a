"""Progress of long loops: label, count, rate and time left, in the terminal and in Jupyter.

Progress goes to stderr: the notebook runner streams it live and leaves it out of the stored
notebook, whose bytes must not depend on the speed of the machine.
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
"""Environment variable of the notebook runner: plain lines every few seconds, no redrawn bar."""


def track(items: Iterable[T], label: str, total: int | None = None) -> tqdm:
    """Iterate over ``items`` showing progress under ``label``."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    # tqdm.auto calls iter() twice; a DataLoader would then draw another order and fork twice.
    iterator = iter(items)
    if os.environ.get(LINES):
        return tqdm(
            iterator,
            desc=label,
            total=total,
            file=sys.stderr,
            mininterval=5,
            maxinterval=10,
            ascii=True,
            bar_format="{desc}: {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left{postfix}\n",
        )
    return tqdm_auto(iterator, desc=label, total=total)
