"""Metrics of the field against naive loops, scikit-learn and hand-computed cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from deepfake_repro.evaluation.field_metrics import (
    FIELD_NAMES,
    average_precision,
    equal_error_rate,
    field_metrics,
    frame_scores,
    tpr_at_fpr,
)
from deepfake_repro.evaluation.metrics import auc, video_scores

GRID = st.integers(0, 6).map(lambda step: step / 6)
BOTH = st.tuples(st.lists(GRID, min_size=1, max_size=9), st.lists(GRID, min_size=1, max_size=9))


def arrays(real, fake):
    return np.repeat([0, 1], [len(real), len(fake)]), np.array([*real, *fake])


def operating_points(real, fake):
    """Numbers of false alarms and of misses at every threshold, by counting."""
    for threshold in {*real, *fake, np.inf}:
        yield sum(p >= threshold for p in real), sum(p < threshold for p in fake)


@settings(max_examples=150, deadline=None)
@given(BOTH)
def test_equal_error_rate_is_that_of_the_threshold_that_a_loop_finds(both):
    real, fake = both
    best = min(
        (abs(alarms * len(fake) - misses * len(real)), alarms * len(fake) + misses * len(real))
        for alarms, misses in operating_points(real, fake)
    )
    expected = best[1] / (2 * len(real) * len(fake))
    assert equal_error_rate(*arrays(real, fake)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(BOTH, st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_tpr_is_the_best_of_all_thresholds_within_the_limit(both, limit):
    real, fake = both
    expected = max(
        1 - misses / len(fake)
        for alarms, misses in operating_points(real, fake)
        if alarms / len(real) <= limit
    )
    assert tpr_at_fpr(*arrays(real, fake), limit) == pytest.approx(expected, abs=1e-12)


def test_cases_by_hand():
    labels, scores = arrays([0.1, 0.2, 0.3, 0.8], [0.2, 0.7, 0.9, 0.9])
    # At 0.7 one of four reals is called fake and one of four fakes real.
    assert equal_error_rate(labels, scores) == 0.25
    assert tpr_at_fpr(labels, scores, 0.05) == 0.5  # two fakes are above all reals
    assert tpr_at_fpr(labels, scores, 0.25) == 0.75
    assert equal_error_rate(*arrays([0.1], [0.9])) == 0
    assert equal_error_rate(*arrays([0.9], [0.1])) == 1
    assert equal_error_rate(*arrays([0.5, 0.5], [0.5])) == 0.5
    # One real of 100 is exactly 1 %: it may be a false alarm.
    labels, scores = arrays([*np.linspace(0, 0.5, 99), 0.9], [0.6, 0.95])
    assert tpr_at_fpr(labels, scores, 0.01) == 1
    assert tpr_at_fpr(labels[1:], scores[1:], 0.01) == 0.5  # of 99 reals none may


def test_average_precision_of_chance_is_the_share_of_fakes():
    labels, scores = arrays([0.5] * 30, [0.5] * 10)
    assert average_precision(labels, scores) == pytest.approx(0.25)


@pytest.mark.parametrize("metric", [equal_error_rate, average_precision])
def test_one_class_is_refused_in_one_line(metric):
    with pytest.raises(ValueError, match=r"labels are \[1\]: give both 0 \(real\) and 1"):
        metric(np.ones(3, int), np.linspace(0, 1, 3))


def crops() -> pd.DataFrame:
    """Two frames of two faces of 24 videos, with two methods of DF40 for each kind."""
    rng = np.random.default_rng(3)
    kinds = [("REAL", "REAL"), ("FS", "a"), ("FS", "b"), ("RE", "c"), ("RE", "d")]
    records = []
    for dataset in ("df40", "wilddeepfake", "itw", "dfeval2024"):
        for category, method in kinds:
            for video in range(6):
                label = int(category != "REAL")
                name = f"{dataset}/{method}/{video}"
                for frame in (0, 1):
                    scores = np.clip(rng.normal(0.4 + 0.2 * label, 0.2, 2), 0, 1)
                    records += [(name, dataset, method, category, label, frame, p) for p in scores]
    columns = ["video_id", "dataset", "manipulation", "category", "label", "frame", "p_fake"]
    return pd.DataFrame(records, columns=columns)


def test_cells_are_those_of_table_3_with_the_same_averages():
    table = crops()
    videos = video_scores(table)
    found = field_metrics(videos, frame_scores(table))
    assert list(found) == list(FIELD_NAMES)
    wild = ["wilddeepfake", "itw", "dfeval2024"]
    for cells in found.values():
        assert list(cells) == ["df40_fs", "df40_re", "df40", *wild, "in_the_wild"]
        assert cells["in_the_wild"] == pytest.approx(
            np.mean([cells[key] for key in wild]), abs=0.01
        )
    part = videos[videos["dataset"] == "itw"]
    expected = average_precision_score(part["label"], part["p_fake"])
    assert found["average_precision"]["itw"] == pytest.approx(100 * expected, abs=0.005)
    per_method = [
        equal_error_rate(both["label"], both["p_fake"])
        for method in "abcd"
        for both in [videos[videos["video_id"].str.match(f"df40/({method}|REAL)/")]]
    ]
    assert found["eer"]["df40"] == pytest.approx(100 * np.mean(per_method), abs=0.005)
    assert found["eer"]["df40_fs"] == pytest.approx(100 * np.mean(per_method[:2]), abs=0.005)


def test_a_frame_is_the_mean_of_its_faces_and_counts_once():
    table = crops()
    by_frame: dict[tuple[str, int], list[float]] = {}
    for row in table[table["dataset"] == "itw"].itertuples():
        by_frame.setdefault((row.video_id, row.frame), []).append(row.p_fake)
    labels = np.array([int("/REAL/" not in video) for video, _ in by_frame])
    means = np.array([sum(faces) / len(faces) for faces in by_frame.values()])
    found = field_metrics(video_scores(table), frame_scores(table))
    assert found["frame_auc"]["itw"] == pytest.approx(100 * auc(labels, means), abs=0.005)
    shuffled = table.sample(frac=1, random_state=1)
    assert frame_scores(shuffled).equals(frame_scores(table))
    assert "frame_auc" not in field_metrics(video_scores(table))
