"""Metrics against hand-computed videos, pair counting and scikit-learn (Section 4.3)."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from deepfake_repro.evaluation.metrics import (
    auc,
    balanced_accuracy,
    roc,
    sbi_protocol,
    table_row,
    video_scores,
    with_sources,
)
from deepfake_repro.evaluation.rows import publishable
from deepfake_repro.project.layout import Layout
from deepfake_repro.project.recipes import Reporting
from deepfake_repro.project.vocabulary import SETS

FS = ["fsgan", "faceswap", "simswap"]
RE = ["fomm", "wav2lip"]


def predictions(*videos):
    """Make one row per crop from ``(video_id, label, {frame: [p_fake of each face]})``."""
    rows = [
        (
            name,
            name.split("/")[0],
            "x" if label else "real",
            "FS" if label else "REAL",
            label,
            frame,
            p,
        )
        for name, label, frames in videos
        for frame, faces in frames.items()
        for p in faces
    ]
    columns = ["video_id", "dataset", "manipulation", "category", "label", "frame", "p_fake"]
    return pd.DataFrame(rows, columns=columns)


THREE = predictions(
    ("ffpp/a", 0, {0: [0.2], 1: [0.4], 2: [0.6]}),  # mean 0.4
    # Two faces in frame 0: mean 0.4, SBI's rule (0.9 + 0.2) / 2.
    ("ffpp/b", 1, {0: [0.9, 0.1], 1: [0.2]}),
    ("ffpp/c", 1, {0: [0.5]}),
)


def test_three_videos_by_hand():
    videos = video_scores(THREE)
    assert videos["video_id"].tolist() == ["ffpp/a", "ffpp/b", "ffpp/c"]
    assert videos["p_fake"].tolist() == pytest.approx([0.4, 0.4, 0.5])
    assert videos["crops"].tolist() == [3, 3, 1]
    assert list(videos.loc[1, ["dataset", "manipulation", "category", "label"]]) == [
        "ffpp",
        "x",
        "FS",
        1,
    ]
    area = auc(videos["label"], videos["p_fake"].round(9))
    assert area == pytest.approx((0.5 + 1) / 2)  # a tie and a win
    accuracy = balanced_accuracy(videos["label"], videos["p_fake"])
    assert accuracy == pytest.approx((1 + 0.5) / 2)  # 0.5 is fake


def test_highest_face_of_a_frame_is_sbis_rule():
    videos = video_scores(THREE, reduce="frame_max")
    assert videos["p_fake"].tolist() == pytest.approx([0.4, 0.55, 0.5])
    assert videos["crops"].tolist() == [3, 3, 1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=9), min_size=2, max_size=6),
    st.randoms(),
)
def test_order_of_crops_does_not_change_a_bit(scores, order):
    table = predictions(*((f"itw/{n}", n % 2, {0: faces}) for n, faces in enumerate(scores)))
    rows = list(range(len(table)))
    order.shuffle(rows)
    assert video_scores(table.iloc[rows]).equals(video_scores(table))
    means = [sum(map(float, faces)) / len(faces) for faces in scores]
    assert video_scores(table)["p_fake"].tolist() == pytest.approx(means)


def test_same_folder_name_under_two_methods_stays_two_videos():
    # DeepfakeBench groups by the parent folder: FF++ pair 000_003 of all methods would be one
    # video.
    table = predictions(
        ("ffpp/Deepfakes/000_003", 1, {0: [0.9]}),
        ("ffpp/Face2Face/000_003", 1, {0: [0.1]}),
        ("celebdf2/000_003", 0, {0: [0.3]}),
    )
    assert video_scores(table)["p_fake"].tolist() == pytest.approx([0.3, 0.9, 0.1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.assign(label=[0, 1] + [1] * 5), "video ffpp/a has two labels"),
        (
            lambda t: t.assign(dataset=["dfdc"] + ["ffpp"] * 6),
            "video ffpp/a has two labels, categories or datasets",
        ),
        (lambda t: t.assign(p_fake=[0.1] * 6 + [np.nan]), "video ffpp/c has p_fake nan"),
        (lambda t: t.assign(p_fake=[0.1] * 6 + [1.01]), "video ffpp/c has p_fake 1.01"),
        (lambda t: t.drop(columns=["category", "label"]), "lack the column category, label"),
    ],
)
def test_bad_predictions_are_rejected_in_one_line(change, words):
    with pytest.raises(ValueError, match=words) as error:
        video_scores(change(THREE))
    assert "\n" not in str(error.value)


def test_unknown_reduction_is_rejected():
    with pytest.raises(ValueError, match="reduce is 'max'"):
        video_scores(THREE, reduce="max")


LABELLED = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40
).filter(lambda pairs: len({label for label, _ in pairs}) == 2)


@settings(max_examples=100, deadline=None)
@given(LABELLED)
def test_auc_and_balanced_accuracy_equal_counting_and_scikit_learn(pairs):
    labels, scores = np.array(pairs).T
    scores = scores / 8
    pairwise = [
        (fake > real) + (fake == real) / 2
        for fake in scores[labels == 1].tolist()
        for real in scores[labels == 0].tolist()
    ]
    assert auc(labels, scores) == pytest.approx(np.mean(pairwise))
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    expected = balanced_accuracy_score(labels, scores >= 0.5)
    assert balanced_accuracy(labels, scores) == pytest.approx(expected)


def test_threshold_moves_balanced_accuracy():
    labels = [0, 0, 1, 1]
    scores = [0.1, 0.3, 0.4, 0.6]
    assert [balanced_accuracy(labels, scores, t) for t in (0.2, 0.35, 0.5)] == [0.75, 1.0, 0.75]


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 1], [0.1, 0.2]),
        ([0, 1], [0.1, np.nan]),
        ([0, 1, 1], [0.1, 0.2]),
        ([0, 1, 2], [0.1, 0.2, 0.3]),
    ],
)
def test_auc_needs_both_classes_and_finite_scores(labels, scores):
    with pytest.raises(ValueError, match="give"):
        auc(labels, scores)


def test_roc_of_four_videos_by_hand():
    curve = roc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    assert curve.to_numpy().tolist() == [[0, 0, np.inf], [0, 0.5, 0.8], [0.5, 1, 0.4], [1, 1, 0.1]]


def test_roc_is_thinned_and_keeps_its_area():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    scores = rng.normal(size=20_000) + labels
    curve = roc(labels, scores)
    assert 150 < len(curve) <= 200
    assert curve.iloc[0, :2].tolist() == [0, 0] and curve.iloc[-1, :2].tolist() == [1, 1]
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(auc(labels, scores), abs=1e-3)


def videos(dataset, reals, fakes, manipulation="x", category="FS"):
    rows = [("real", "REAL", 0, p) for p in reals] + [(manipulation, category, 1, p) for p in fakes]
    table = pd.DataFrame(rows, columns=["manipulation", "category", "label", "p_fake"])
    return table.assign(dataset=dataset)


@pytest.fixture
def benchmark():
    rng = np.random.default_rng(0)
    ordinary = [name for name in SETS if "df40" not in name and not name.startswith("in_")]
    parts = [videos(name, rng.random(5), rng.random(7)) for name in ordinary]
    parts.append(videos("df40", rng.random(6), []))
    parts += [videos("df40", [], rng.random(9), name, "FS") for name in FS]
    parts += [videos("df40", [], rng.random(2), name, "RE") for name in RE]
    return pd.concat(parts, ignore_index=True)


def test_table_row_has_each_column_of_table_3(benchmark):
    row = table_row(benchmark, {"itw": 3, "ffpp": 1}, threshold=0.4)
    assert list(row) == ["auc", "bacc", "videos"]
    assert list(row["auc"]) == list(row["bacc"]) == list(SETS)
    assert row["videos"]["unscored"] == {"ffpp": 1, "itw": 3}
    assert (
        row["videos"]["scored"]["df40"] == 6 + 3 * 9 + 2 * 2
        and row["videos"]["scored"]["dfdc"] == 12
    )
    for name in ("ffpp", "dfeval2024"):
        part = benchmark[benchmark["dataset"] == name]
        assert row["auc"][name] == round(100 * roc_auc_score(part["label"], part["p_fake"]), 2)
        expected = balanced_accuracy_score(part["label"], part["p_fake"] >= 0.4)
        assert row["bacc"][name] == round(100 * expected, 2)


def test_df40_methods_share_the_reals_and_weigh_the_same(benchmark):
    part = benchmark[benchmark["dataset"] == "df40"]

    def mean(methods):
        both = [part[(part["label"] == 0) | (part["manipulation"] == name)] for name in methods]
        return round(100 * np.mean([roc_auc_score(t["label"], t["p_fake"]) for t in both]), 2)

    row = table_row(benchmark, {})["auc"]
    assert (row["df40_fs"], row["df40_re"], row["df40"]) == (mean(FS), mean(RE), mean(FS + RE))
    pooled = round(100 * roc_auc_score(part["label"], part["p_fake"]), 2)
    assert row["df40"] != pooled


def test_averages_are_taken_before_rounding(benchmark):
    row = table_row(benchmark, {})["auc"]
    wild = [
        benchmark[benchmark["dataset"] == name] for name in ("wilddeepfake", "itw", "dfeval2024")
    ]
    expected = 100 * np.mean([roc_auc_score(t["label"], t["p_fake"]) for t in wild])
    assert row["in_the_wild"] == round(expected, 2)


def test_absent_sets_take_their_average_with_them(benchmark):
    one_class = (benchmark["dataset"] == "itw") & (benchmark["label"] == 0)
    no_re = benchmark["category"] == "RE"
    row = table_row(benchmark[~one_class & ~no_re], {})
    for metric in ("auc", "bacc"):
        assert set(SETS) - set(row[metric]) == {"itw", "in_the_wild", "df40_re", "df40"}
    assert row["videos"]["scored"]["itw"] == 7


def test_df40_without_reals_and_other_datasets():
    table = pd.concat(
        [videos("df40", [], [0.5]), videos("zoo", [0.1], [0.9]), videos("dfd", [0.9], [0.1])]
    )
    assert table_row(table, {})["auc"] == {"dfd": 0.0, "zoo": 100.0}


def test_own_protocol_takes_the_highest_face_of_each_frame():
    """One real and one fake video; the second face of each frame is fake. The mean is a tie."""
    rows = [
        ("r", 0, 0, 0, 0.3),
        ("r", 1, 0, 0, 0.5),
        ("f", 0, 0, 1, 0.1),
        ("f", 0, 1, 1, 0.9),
        ("f", 1, 0, 1, 0.1),
        ("f", 1, 1, 1, 0.5),
    ]
    predictions = pd.DataFrame(
        rows, columns=["video_id", "frame", "face", "label", "p_fake"]
    ).assign(dataset="itw", manipulation="x", category="UNK")
    assert table_row(video_scores(predictions), {})["auc"] == {"itw": 50.0}
    assert sbi_protocol(video_scores(predictions, "frame_max")) == {
        "auc": {"itw": 100.0},
        "bacc": {"itw": 100.0},
    }


def test_a_source_is_the_person_else_the_group_else_the_real_video_else_the_video() -> None:
    index = pd.DataFrame(
        [
            ("a", "id1", "g1", ""),
            ("b", "", "g2", "a"),
            ("c", "", "", "a"),
            ("d", "", "", ""),
        ],
        columns=["video_id", "target_id", "group", "pair_key"],
    )
    videos = pd.DataFrame({"video_id": ["d", "c", "b", "a", "unknown"]})
    assert list(with_sources(videos, index)["source"]) == ["d", "a", "g2", "id1", "unknown"]


def test_sources_are_counted_per_test_set() -> None:
    videos = pd.DataFrame(
        {
            "video_id": ["v1", "v2", "v3", "v4"],
            "dataset": ["ffpp", "ffpp", "ffpp", "dfdc"],
            "manipulation": "x",
            "category": "FS",
            "label": [0, 1, 1, 1],
            "p_fake": 0.5,
            "source": ["p", "p", "q", "p"],
        }
    )
    assert table_row(videos, {})["videos"]["sources"] == {"ffpp": 2, "dfdc": 1}
    assert "sources" not in table_row(videos.drop(columns="source"), {})["videos"]


def test_the_columns_are_those_of_the_layout(benchmark):
    layout = Layout({"itw": ("itw",), "others": ("ffpp", "df40")})
    ours, papers = table_row(benchmark, {}, layout=layout)["auc"], table_row(benchmark, {})["auc"]
    assert ours["others"] == pytest.approx((papers["ffpp"] + papers["df40"]) / 2, abs=0.01)
    assert {"in_distribution", "in_the_wild"}.isdisjoint(ours)
    assert list(ours)[:4] == ["itw", "ffpp", "df40", "others"]


def test_where_no_face_may_be_shown_tables_hold_digests_that_still_match() -> None:
    videos = video_scores(THREE).assign(source=["anna", "ben", "anna"])
    hidden = publishable(Reporting("", "", faces=False))(videos)
    text = hidden.to_csv()
    assert not any(name in text for name in (*videos["video_id"], "anna", "ben"))
    digest = {name: hashlib.sha256(name.encode()).hexdigest()[:12] for name in videos["video_id"]}
    assert hidden["video_id"].tolist() == sorted(digest.values())
    scores = videos.set_index(videos["video_id"].map(digest))["p_fake"].to_dict()
    assert hidden.set_index("video_id")["p_fake"].to_dict() == scores
    assert sorted(hidden["source"].value_counts()) == [1, 2]
    again = publishable(Reporting("", "", faces=False))(videos.assign(p_fake=0.0).iloc[::-1])
    assert again["video_id"].tolist() == hidden["video_id"].tolist()
    assert publishable(Reporting("", "", faces=True))(videos) is videos
