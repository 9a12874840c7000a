"""Predictions of one run -> its row of Table 3, and the run's other records in git."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..project.layout import PAPER, Layout
from ..project.notebooks import weave
from ..project.params import load
from ..project.paths import profile_paths
from ..project.recipes import Reporting
from ..project.vocabulary import FINETUNE, LNCLIP, METRICS, SBI, VALIDATION, method_of
from .field_metrics import field_metrics, frame_scores
from .metrics import roc, sbi_protocol, table_row, video_scores, with_sources, without_names

NOTEBOOKS = {FINETUNE: "05_finetune", SBI: "05b_sbi", LNCLIP: "09_layernorm_clip"}
"""The notebook that trains the rows of each method."""


def score(profile: str, variant: str, seed: int) -> None:
    """Write one run's row of Table 3 and its other records to ``results/<profile>/runs``.

    Raises ``FileNotFoundError`` if the run has no predictions.
    """
    paths = profile_paths(profile)
    chosen = load().profile(profile)
    options, layout = chosen.scoring, chosen.layout
    source = paths.predictions(variant, seed)
    files = sorted(source.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"no predictions in {source}: run dvc repro predict@{profile}-{variant}-{seed} first"
        )
    test_files = [file for file in files if file.stem != VALIDATION]
    index = pd.read_parquet(paths.index)
    videos = with_sources(_video_scores(test_files), index)
    row = table_row(videos, unscored_videos(index, videos), options.threshold, layout)
    if method_of(variant) == SBI:
        row["own_protocol"] = sbi_protocol(
            _video_scores(test_files, "frame_max"), options.threshold, layout
        )
    row["further"] = field_metrics(videos, _frame_scores(test_files), layout)
    out = paths.runs / f"{variant}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "scores.json", row)
    write_json(out / "summary.json", summary(row, layout))
    publish = publishable(chosen.report)
    write_csv(out / "videos.csv", publish(videos))
    validation = _video_scores([source / f"{VALIDATION}.parquet"])
    write_csv(out / "validation.csv", publish(validation))
    write_csv(out / "roc.csv", roc(videos["label"], videos["p_fake"]))
    weights = paths.weights(variant, seed)
    for name in ("history.csv", "provenance.json"):
        shutil.copyfile(weights / name, out / name)
    notebook = paths.base / "notebooks" / f"{NOTEBOOKS[method_of(variant)]}.ipynb"
    weave(weights / "notebook.ipynb", notebook, out / "finetune.ipynb")


def publishable(report: Reporting) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what makes a table of videos fit for git: names stay where faces may be shown."""
    return (lambda videos: videos) if report.faces else without_names


def summary(row: Mapping[str, Any], layout: Layout = PAPER) -> dict[str, dict[str, float]]:
    """Select the averages of the scenarios from a row, per metric; DVC shows these."""
    return {
        metric: {key: row[metric][key] for key in layout.scenarios if key in row[metric]}
        for metric in METRICS
    }


def _video_scores(files: list[Path], reduce: str = "mean") -> pd.DataFrame:
    """Score all videos, one file in memory at a time; a video's crops are all in one file."""
    parts = [video_scores(pd.read_parquet(file), reduce) for file in files]
    return pd.concat(parts).sort_values("video_id", ignore_index=True)


def _frame_scores(files: list[Path]) -> pd.DataFrame:
    """Score all frames, the crops of one file in memory at a time."""
    return pd.concat([frame_scores(pd.read_parquet(file)) for file in files], ignore_index=True)


def unscored_videos(index: pd.DataFrame, videos: pd.DataFrame) -> dict[str, int]:
    """Count per corpus the test videos of the index that have no crop and hence no score."""
    missing = index[(index["split"] == "test") & ~index["video_id"].isin(videos["video_id"])]
    return missing["dataset"].value_counts().sort_index().to_dict()


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write fractions with four decimals, the same bytes on every system."""
    table.round(4).to_csv(path, index=False, lineterminator="\n")


def write_json(path: Path, content: dict) -> None:
    """Write results as indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n")
