"""Paired bootstrap and DeLong against a loop, scikit-learn, closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from deepfake_repro.evaluation import statistics
from deepfake_repro.evaluation.metrics import table_row
from deepfake_repro.evaluation.statistics import (
    comparisons,
    delong,
    intervals,
    paired_bootstrap,
    smallest_visible,
)

Group = tuple[str, str, int]
DRAWS = 60  # of the slow loop
SETS_IN_THE_WILD = ("wilddeepfake", "itw", "dfeval2024")


def videos(dataset: str, groups: list[Group], scores: np.ndarray) -> pd.DataFrame:
    """Make a table like ``videos.csv``: ``count`` videos per group, ``scores`` in that order."""
    rows = [
        (f"{dataset}/{name}/{number:04d}", dataset, name, category, int(category != "REAL"))
        for name, category, count in groups
        for number in range(count)
    ]
    columns = ["video_id", "dataset", "manipulation", "category", "label"]
    return pd.DataFrame(rows, columns=columns).assign(p_fake=scores)


def plain(dataset: str, real: np.ndarray, fake: np.ndarray) -> pd.DataFrame:
    return videos(
        dataset, [("real", "REAL", len(real)), ("x", "FS", len(fake))], np.concatenate([real, fake])
    )


METHODS: list[Group] = [("real", "REAL", 12), ("a", "FS", 7), ("b", "FS", 5), ("c", "RE", 9)]


@pytest.fixture(scope="module")
def runs() -> dict[str, pd.DataFrame]:
    """Two seeds of one row and one of another, on DF40 and the in-the-wild sets, with many ties."""
    rng = np.random.default_rng(5)
    base = {name: rng.normal(size=33) for name in ("df40", "wilddeepfake", "itw", "dfeval2024")}

    def run() -> pd.DataFrame:
        parts = []
        for name, common in base.items():
            groups = METHODS if name == "df40" else [("real", "REAL", 15), ("x", "UNK", 18)]
            label = np.repeat([0, 1], [groups[0][2], 33 - groups[0][2]])
            noisy = common + 0.8 * rng.normal(size=33) + label
            parts.append(videos(name, groups, (1 / (1 + np.exp(-noisy))).round(1)))
        return pd.concat(parts).sample(frac=1, random_state=3)

    return {"fsfm-0": run(), "fsfm-1": run(), "fsfm_ba-0": run()}


def slow_cells(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Compute every cell with scikit-learn, written out."""
    metrics = {"auc": roc_auc_score, "bacc": lambda y, p: balanced_accuracy_score(y, p >= 0.5)}
    label = table["label"].to_numpy()
    score = table["p_fake"].to_numpy()
    dataset = table["dataset"].to_numpy(object)
    method = table["manipulation"].to_numpy(object)
    cells = {}
    for metric, function in metrics.items():

        def of(name: str, manipulation: str, function: callable = function) -> float:
            chosen = (dataset == name) & ((label == 0) | (method == manipulation))
            return 100 * function(label[chosen], score[chosen])

        methods = {m: of("df40", m) for m in "abc"}
        cells[metric, "df40_fs"] = (methods["a"] + methods["b"]) / 2
        cells[metric, "df40_re"] = methods["c"]
        cells[metric, "df40"] = sum(methods.values()) / 3
        cells |= {(metric, name): of(name, "x") for name in ("wilddeepfake", "itw", "dfeval2024")}
        cells[metric, "in_the_wild"] = (
            sum(cells[metric, n] for n in ("wilddeepfake", "itw", "dfeval2024")) / 3
        )
    return cells


def test_draws_spread_as_a_bootstrap_written_as_a_loop(runs: dict[str, pd.DataFrame]) -> None:
    """Each draw resamples the same rows of all runs and scores them with scikit-learn.

    The loop knows nothing of small samples: ours are wider, by at most half.
    """
    tables = {
        name: table.sort_values("video_id", ignore_index=True) for name, table in runs.items()
    }
    keys = tables["fsfm-0"]
    rng = np.random.default_rng(0)
    slow: dict[tuple, list[float]] = {}
    for _ in range(DRAWS):
        drawn = np.concatenate(
            [
                rng.choice(rows.index, len(rows))
                for _, rows in keys.groupby(["dataset", "label", "manipulation"])
            ]
        )
        cells = {name: slow_cells(table.loc[drawn]) for name, table in tables.items()}
        for key in cells["fsfm-0"]:
            fsfm = (cells["fsfm-0"][key] + cells["fsfm-1"][key]) / 2
            slow.setdefault(("fsfm", *key), []).append(fsfm)
            slow.setdefault(("gap", *key), []).append(cells["fsfm_ba-0"][key] - fsfm)
    ours = paired_bootstrap(runs, 4000, seed=0)
    assert set(ours.cells) == {key[1:] for key in slow}
    for (what, *key), values in slow.items():
        drawn = ours.cell(key[0], "fsfm", key[1])
        if what == "gap":
            drawn = ours.cell(key[0], "fsfm_ba", key[1]) - drawn
        assert 0.75 < drawn.std() / np.std(values) < 1.5, (what, *key)


def test_delongs_areas_are_the_cells_of_table_3(runs: dict[str, pd.DataFrame]) -> None:
    closed = delong(runs)
    rows = [table_row(table, {})["auc"] for table in runs.values()]
    for key, (areas, _) in closed.items():
        assert areas == pytest.approx([(rows[0][key] + rows[1][key]) / 2, rows[2][key]], abs=0.006)
    slow = [slow_cells(table)["auc", "df40"] for table in runs.values()]
    assert list(closed["df40"][0]) == pytest.approx([(slow[0] + slow[1]) / 2, slow[2]])


def test_delong_by_hand() -> None:
    # Reals 1, 3 and fakes 2, 4: 3 of 4 pairs are in order. Shares of the reals 1 and 1/2, of the
    # fakes 1/2 and 1: variance 1/8 each, over 2.
    ((area, spread),) = delong(
        {"fsfm-0": plain("itw", np.array([0.1, 0.3]), np.array([0.2, 0.4]))}
    ).values()
    assert area == pytest.approx([75.0]) and spread == pytest.approx(
        np.array([[1e4 * (1 / 16 + 1 / 16)]])
    )


def test_delong_agrees_with_the_bootstrap_where_both_hold() -> None:
    rng = np.random.default_rng(2)
    common = rng.normal(size=600)
    runs = {
        f"{row}-0": plain(
            "itw", *np.split(common + rng.normal(size=600) + np.repeat([0, 1.2], 300), 2)
        )
        for row in ("fsfm", "fsfm_ba")
    }
    ((area, spread),) = delong(runs).values()
    drawn = paired_bootstrap(runs, 3000, seed=1).cells["auc", "itw"]
    assert np.cov(drawn.T) == pytest.approx(spread, rel=0.15)
    assert drawn.mean(0) == pytest.approx(area, abs=0.2)


def coverage(
    simulate: callable, truth: dict[str, float], sets: int = 200, draws: int = 200
) -> dict[str, float]:
    """Compute the share of simulated test sets whose interval covers the truth, by cell and gap."""
    inside = dict.fromkeys(truth, 0)
    for number in range(sets):
        drawn = paired_bootstrap(
            simulate(np.random.default_rng([2025, number])), draws, seed=number
        )
        for key, value in truth.items():
            name = key.removeprefix("gap_")
            values = drawn.cell("auc", "fsfm", name)
            if key != name:
                values = drawn.cell("auc", "fsfm_ba", name) - values
            low, high = np.percentile(values, statistics.LEVEL)
            inside[key] += low <= value <= high
    return {key: count / sets for key, count in inside.items()}


def test_intervals_cover_the_true_auc_and_the_true_difference() -> None:
    """Normal scores, fakes shifted by d: the AUC is Phi(d / sqrt 2). Two rows share most noise.

    Deepfake-Eval-2024 has 112 reals, the fewest of Table 3.
    """
    shifts = {"fsfm": 1.5, "fsfm_ba": 1.2}
    label = np.repeat([0, 1], [112, 300])

    def simulate(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
        common = rng.normal(size=412)
        scores = {
            row: 0.8 * common + 0.6 * rng.normal(size=412) + d * label for row, d in shifts.items()
        }
        return {f"{row}-0": plain("itw", *np.split(score, [112])) for row, score in scores.items()}

    areas = [100 * norm.cdf(d / np.sqrt(2)) for d in shifts.values()]
    shares = coverage(simulate, {"itw": areas[0], "gap_itw": areas[1] - areas[0]})
    assert all(0.92 <= share <= 0.99 for share in shares.values()), shares


def test_intervals_of_df40_cover_because_the_shared_reals_are_drawn_once() -> None:
    """All methods share 178 reals; with separate reals the interval would be far too short."""
    methods: list[Group] = [
        ("real", "REAL", 178),
        *((f"m{n}", "FS" if n < 2 else "RE", 60) for n in range(4)),
    ]
    shift = (np.arange(418) >= 178).astype(float)

    def simulate(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
        return {"fsfm-0": videos("df40", methods, rng.normal(size=418) + shift)}

    shares = coverage(simulate, {"df40": 100 * norm.cdf(1 / np.sqrt(2))}, sets=120)
    assert 0.92 <= shares["df40"] <= 0.99, shares
    table = simulate(np.random.default_rng(0))["fsfm-0"]
    own = [
        delong(
            {"fsfm-0": table[table["manipulation"].isin(["real", f"m{n}"])].assign(dataset="itw")}
        )["itw"][1]
        for n in range(4)
    ]
    assert delong({"fsfm-0": table})["df40"][1][0, 0] > 1.5 * np.sum(own) / 16


def test_each_seed_keeps_its_own_row(runs: dict[str, pd.DataFrame]) -> None:
    seeds = paired_bootstrap(runs, 10, seed=0).seeds
    assert {seed: set(rows) for seed, rows in seeds.items()} == {
        "0": {"fsfm", "fsfm_ba"},
        "1": {"fsfm"},
    }
    assert seeds["1"]["fsfm"] == table_row(runs["fsfm-1"], {})
    assert paired_bootstrap({"fsfm-0": runs["fsfm-0"]}, 10, seed=0).seeds == {}


def test_another_test_set_and_the_order_of_runs_change_no_interval(
    runs: dict[str, pd.DataFrame],
) -> None:
    def by_cell(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
        replicates = paired_bootstrap(tables, 200, seed=4)
        return intervals(replicates).set_index(["row", "metric", "set"])

    whole = by_cell(runs)
    reversed_runs = by_cell(dict(reversed(runs.items())))
    pd.testing.assert_frame_equal(whole.sort_index(), reversed_runs.sort_index())
    fewer = by_cell({name: table[table["dataset"] != "itw"] for name, table in runs.items()})
    assert fewer.equals(whole.loc[fewer.index])
    assert len(fewer) == len(whole) - 2 * 2 * 2  # without ITW and its average


@pytest.mark.parametrize(("reals", "fakes"), [(1, 1), (2, 2), (4, 20), (300, 900)])
def test_no_interval_is_without_width(reals: int, fakes: int) -> None:
    """A perfect row, and one that calls everything fake."""
    perfect = plain("itw", np.full(reals, 0.1), np.full(fakes, 0.9))
    drawn = paired_bootstrap(
        {"fsfm-0": perfect, "fsfm_ba-0": perfect.assign(p_fake=0.9)}, 500, seed=0
    )
    table = intervals(drawn).set_index(["row", "metric"])
    assert (table["high"] - table["low"]).min() > 0.2
    assert (table.loc["fsfm", "high"] == 100).all() and (table.loc["fsfm", "low"] < 100).all()
    chance = table.loc[("fsfm_ba", "bacc")]
    assert chance["low"] < 50 < chance["high"]
    assert (table["n_real"] == reals).all() and (table["sources"] == reals + fakes).all()


def test_videos_of_one_source_count_as_alike_as_they_score() -> None:
    """Copies of a video add nothing; videos that vary freely count almost fully."""
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=20), 1 + rng.normal(size=20)
    once = plain("itw", real, fake)

    def width(table: pd.DataFrame) -> float:
        table = intervals(paired_bootstrap({"fsfm-0": table}, 4000, seed=0)).set_index("metric")
        return table.loc["auc", "high"] - table.loc["auc", "low"]

    copies = plain("itw", np.repeat(real, 5), np.repeat(fake, 5))
    of_person = np.repeat([f"person {number}" for number in range(40)], 5)
    assert width(copies.assign(source=of_person)) == pytest.approx(width(once), rel=0.06)
    assert width(copies) < 0.6 * width(once)
    free = plain("itw", rng.normal(size=100), 1 + rng.normal(size=100))
    assert width(free) < width(free.assign(source=of_person)) < 1.35 * width(free)


def test_memory_is_bounded_and_chunks_change_no_draw(
    runs: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = paired_bootstrap(runs, 100, seed=0)
    monkeypatch.setattr(statistics, "_CHUNK_SIZE", 400)
    for key, drawn in paired_bootstrap(runs, 100, seed=0).cells.items():
        np.testing.assert_allclose(drawn, whole.cells[key])


def test_the_average_adds_squares_of_its_sets(runs: dict[str, pd.DataFrame]) -> None:
    table = intervals(paired_bootstrap(runs, 20_000, seed=0)).set_index(["row", "metric", "set"])
    cells = {name: table_row(runs["fsfm_ba-0"], {})["auc"][name] for name in SETS_IN_THE_WILD}
    below = [value - table.loc[("fsfm_ba", "auc", name), "low"] for name, value in cells.items()]
    average = table.loc[("fsfm_ba", "auc", "in_the_wild")]
    assert np.mean(list(cells.values())) - average["low"] == pytest.approx(
        np.sqrt(np.sum(np.square(below))) / 3, rel=0.05
    )
    assert (average["n_real"], average["n_fake"], average["sources"]) == (45, 54, 99)


def test_the_smallest_visible_difference_is_seen_four_times_in_five() -> None:
    """Normal theory: a true difference of (1.96 + 0.84) standard errors."""
    rng = np.random.default_rng(1)
    runs = {f"{row}-0": plain("itw", *rng.normal(size=(2, 400))) for row in ("fsfm", "fsfm_ba")}
    closed = delong(runs)
    ours = paired_bootstrap(runs, 4000, seed=0)
    seen = smallest_visible(ours).set_index(["metric", "set"])["visible"]
    error = np.sqrt(np.array([-1, 1]) @ closed["itw"][1] @ [-1, 1])
    assert seen["auc", "itw"] == pytest.approx(2.8016 * error, rel=0.1)
    assert set(intervals(ours).query("metric == 'auc'")["visible"]) == {seen["auc", "itw"]}
    versus = comparisons([("fsfm_ba", "fsfm")], {}, {}, ours, closed).set_index(["metric", "set"])
    assert versus.loc[("auc", "itw"), "visible"] == seen["auc", "itw"]


def test_comparisons_have_both_differences_and_both_intervals(
    runs: dict[str, pd.DataFrame],
) -> None:
    published = {
        "fsfm": {"auc": {"itw": 82.8}},
        "fsfm_ba": {"auc": {"itw": 83.7}},
        "sbi": {"auc": {"itw": 68.0}},
    }
    reproduced = {"fsfm": {"auc": {"itw": 80.0}}, "fsfm_ba": {"auc": {"itw": 70.5}}}
    drawn = paired_bootstrap(runs, 500, seed=0)
    closed = delong(runs)
    table = comparisons(
        [("fsfm_ba", "fsfm"), ("sbi", "fsfm")], published, reproduced, drawn, closed
    )
    table = table.set_index(["first", "metric", "set"])
    ours = table.loc[("fsfm_ba", "auc", "itw")]
    assert (ours["published"], ours["reproduced"]) == (0.9, -9.5)
    gap = drawn.cell("auc", "fsfm_ba", "itw") - drawn.cell("auc", "fsfm", "itw")
    assert [ours["low"], ours["high"]] == pytest.approx(np.percentile(gap, [2.5, 97.5]), abs=0.006)
    _, covariance = closed["itw"]
    assert ours["delong_high"] - ours["delong_low"] == pytest.approx(
        2 * 1.96 * np.sqrt(np.array([-1, 1]) @ covariance @ [-1, 1]), abs=0.02
    )
    assert (table["differs"] == "yes").equals((table["low"] > 0) | (table["high"] < 0))
    absent = table.loc[("sbi", "auc", "itw")]
    assert (
        absent["published"] == -14.8
        and absent[["reproduced", "low", "delong_low", "differs"]].isna().all()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: {}, "^no run to resample"),
        (
            lambda runs: {"fsfm": runs["fsfm-0"]},
            "^run 'fsfm' is not named <row>-<seed>: rename it$",
        ),
        (
            lambda runs: {**runs, "sbi-0": runs["fsfm-0"].iloc[1:]},
            "^runs fsfm-0 and sbi-0 have different videos: "
            "predict and score both on the same crops$",
        ),
    ],
)
def test_runs_that_cannot_be_paired_are_rejected(
    runs: dict[str, pd.DataFrame], change: callable, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(change(runs), 10, seed=0)


def test_a_draw_is_needed(runs: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(ValueError, match=r"^draws is 0"):
        paired_bootstrap(runs, 0, seed=0)
