"""Label schemes: real/fake, manipulation category, dataset (Section 3.4).

Class 0 is always real. A network trained with more classes still answers real or fake: the
probabilities of all fake classes are added.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd

from ..project.vocabulary import TRAINING_CORPORA

REAL = "REAL"


class Scheme(StrEnum):
    """What the classes distinguish; there are 2, 3 or 6 of them."""

    binary = "binary"
    category = "category"
    dataset = "dataset"


_CLASSES: dict[Scheme, tuple[str, ...]] = {
    Scheme.binary: (REAL, "FAKE"),
    Scheme.category: (REAL, "FS", "RE"),
    Scheme.dataset: (REAL, *TRAINING_CORPORA),
}


def class_names(scheme: Scheme | str) -> tuple[str, ...]:
    """Name the classes in the order of the network's outputs (Section 3.4).

    Raises ``ValueError`` for an unknown scheme.
    """
    return _CLASSES[_scheme(scheme)]


def class_labels(table: pd.DataFrame, scheme: Scheme | str) -> np.ndarray:
    """Label each row with its class, int64 ``[N]`` (Section 3.4).

    ``table`` has the columns ``label`` and, by scheme, ``category`` or ``dataset``. Raises
    ``ValueError`` for an unknown scheme, for a fake whose category or dataset has no class, and
    where ``label`` and ``category`` contradict each other.
    """
    scheme = _scheme(scheme)
    label = table["label"].to_numpy()
    if not np.isin(label, (0, 1)).all():
        raise ValueError(
            "the column label has values other than 0 (real) and 1 (fake): correct them"
        )
    if scheme is Scheme.binary:
        return label.astype(np.int64)
    if scheme is Scheme.category:
        _check_agreement(table, label)
    names = class_names(scheme)
    source = table[scheme.value].astype("str").to_numpy(dtype=object)
    classes = pd.Categorical(np.where(label == 0, REAL, source), categories=names)
    codes = classes.codes.astype(np.int64)
    if (codes < 0).any():
        culprit = source[(codes < 0).argmax()]
        raise ValueError(
            f"{scheme} {culprit!r} of a fake is not a class of the scheme {scheme}: "
            f"train on {', '.join(names[1:])} or choose another scheme"
        )
    return codes


def p_fake(probabilities: np.ndarray) -> np.ndarray:
    """Sum the probabilities of all fake classes, ``[N, C]`` -> ``[N]`` (end of Section 3.4).

    The sum can exceed 0.5 where the most likely single class is real. Raises ``ValueError`` unless
    C >= 2.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(
            f"probabilities have shape {probabilities.shape}: give [N, C >= 2], real first"
        )
    return probabilities[:, 1:].sum(1)


def _scheme(scheme: Scheme | str) -> Scheme:
    if scheme not in list(Scheme):
        raise ValueError(f"label scheme {scheme!r} is unknown: use one of {', '.join(Scheme)}")
    return Scheme(scheme)


def _check_agreement(table: pd.DataFrame, label: np.ndarray) -> None:
    category = table["category"].astype("str").to_numpy(dtype=object)
    wrong = (category == REAL) != (label == 0)
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(
            f"label {label[row]} with category {category[row]!r}: "
            "REAL belongs to label 0 and every other category to label 1"
        )
