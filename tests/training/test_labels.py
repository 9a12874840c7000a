"""Label schemes and the probability of fake (Section 3.4)."""

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.training.labels import Scheme, p_fake
from deepfake_repro.training.labels import class_labels as labels
from deepfake_repro.training.labels import class_names as classes


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "label": [0, 1, 1, 0, 1],
            "category": ["REAL", "RE", "FS", "REAL", "FS"],
            "dataset": ["dfdc", "ffpp", "forgerynet", "ffpp", "celebdf2"],
        },
        index=[7, 3, 9, 1, 5],
    )


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [("binary", [0, 1, 1, 0, 1]), ("category", [0, 2, 1, 0, 1]), ("dataset", [0, 1, 5, 0, 2])],
)
def test_labels_by_hand(table, scheme, expected):
    actual = labels(table, scheme)
    assert actual.dtype == np.int64 and actual.tolist() == expected
    assert labels(table, Scheme(scheme)).tolist() == expected


def test_classes_have_real_first_and_corpora_in_the_order_of_table_1():
    assert classes("binary") == ("REAL", "FAKE")
    assert classes("category") == ("REAL", "FS", "RE")
    assert classes("dataset") == ("REAL", "ffpp", "celebdf2", "dfdc", "fakeavceleb", "forgerynet")


@pytest.mark.parametrize("kind", ["str", "object", "category"])
def test_labels_do_not_depend_on_the_column_type(table, kind):
    typed = table.astype({"category": kind, "dataset": kind, "label": "int8"})
    assert labels(typed, "category").tolist() == [0, 2, 1, 0, 1]
    assert labels(typed, "dataset").tolist() == [0, 1, 5, 0, 2]


def test_real_of_any_dataset_is_real(table):
    table.loc[7, "dataset"] = "private"
    assert labels(table, "dataset").tolist() == [0, 1, 5, 0, 2]


@pytest.mark.parametrize(
    ("column", "value", "scheme", "words"),
    [
        ("dataset", "dfd", "dataset", "'dfd'"),
        ("category", "UNK", "category", "'UNK'"),
        ("category", "REAL", "category", "label 1 with category 'REAL'"),
        ("label", 2, "binary", "column label"),
    ],
)
def test_values_without_a_class_are_refused(table, column, value, scheme, words):
    table.loc[3, column] = value
    with pytest.raises(ValueError, match=words) as error:
        labels(table, scheme)
    assert "\n" not in str(error.value)


def test_unknown_scheme_names_the_known_ones(table):
    with pytest.raises(
        ValueError, match="'method' is unknown: use one of binary, category, dataset"
    ):
        labels(table, "method")


def test_fake_is_the_sum_even_where_real_is_the_likeliest_class():
    probabilities = np.array([[0.4, 0.3, 0.3], [0.7, 0.1, 0.2]])
    assert p_fake(probabilities) == pytest.approx([0.6, 0.3])
    assert p_fake(np.array([[0.25, 0.75]])).tolist() == [0.75]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_p_fake_needs_at_least_two_classes(shape):
    with pytest.raises(ValueError, match=r"C >= 2"):
        p_fake(np.zeros(shape))
