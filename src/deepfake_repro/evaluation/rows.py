"""The cheap stages of the pipeline, each one function from files to files (the heavy ones are notebooks)."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pandas as pd

from ..corpora import index_corpora
from ..crops.extraction import CropStore, FaceDetector
from ..dataset.counts import compare, published
from ..faces.detection import detector
from ..project.params import CropOptions, IndexOptions, load, root
from ..project.paths import corpus_roots, places
from ..project.vocabulary import MISSING, VALIDATION
from ..report.tables import read_published, read_scores, scenarios
from .metrics import roc, sbi_protocol, table_row, video_scores

ASSETS = "data/assets"
LESSONS = {"sbi": "05b_sbi", "lnclip": "09_layernorm_clip"}
"""Notebook that trains a row, where it is not ``05_finetune``."""
README_MARKS = ("<!-- results: written by `python -m deepfake_repro readme` -->\n", "<!-- /results -->")


def detector_factory(options: CropOptions) -> partial[FaceDetector]:
    """A picklable maker of the face detector that ``params.yaml`` names."""
    if options.detector == "retinaface":
        weights = root() / ASSETS / "retinaface_mobilenet025.onnx"
        return partial(detector, "retinaface", weights=weights, threshold=options.min_score,
                       max_side=options.detector_side)
    return partial(detector, options.detector, threshold=options.min_score, max_side=options.detector_side)


def adapter_options(options: IndexOptions) -> dict[str, dict[str, object]]:
    """The profile's index options in the words of each adapter."""
    return {
        "ffpp": {"compression": options.compression},
        "fakeavceleb": {"seed": options.split_seed, "composite_category": options.composite_category},
        "forgerynet": {"seed": options.split_seed, "validation": options.forgerynet_validation,
                       "categories": options.forgerynet_category},
    }


def index(profile: str) -> None:
    """Corpora of a profile -> ``index.parquet`` and ``report.csv``; prints what was found beside the paper's counts."""
    params = load()
    options, place = params.profile(profile).index, places(profile)  # first, so that it is the profile that is unknown
    table, report = index_corpora(corpus_roots(place.roots), adapter_options(options))
    place.index.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(place.index, index=False)
    report.to_csv(place.index.with_name("report.csv"), index=False, lineterminator="\n")
    paper = published(place.base / "results" / "published")
    compared = compare(table, report, paper, miniature=profile in params.miniatures)
    shown = compared.astype("object").where(compared.notna(), MISSING)
    shown["explanation"] = shown["explanation"].str.ljust(shown["explanation"].str.len().max())  # left-aligned
    print(report.to_string(index=False), shown.to_string(index=False, justify="left"), sep="\n\n")


def landmarks(profile: str) -> None:
    """Landmarks of the real crops that SBI learns from -> ``points.parquet``; found once, in ``workers()`` processes."""
    from ..faces.landmarks import FaceMesh
    from ..methods.sbi.faces import crop_points, real_faces  # they load torch: the other stages must not pay for it

    options, place = load().profile(profile), places(profile)
    index = pd.read_parquet(place.index, columns=["video_id", "split"])
    rows = pd.concat([real_faces(pd.read_parquet(place.samples / f"{table}.parquet"), index, split, options.sbi)
                      for table, split in (("train", "train"), ("validation", "val"))], ignore_index=True)
    mesh = FaceMesh(place.base / ASSETS / "face_landmarks.tflite")
    points = crop_points(CropStore(place.crops), rows, mesh, options.crops.margin, workers())
    place.landmarks.parent.mkdir(parents=True, exist_ok=True)
    points.to_parquet(place.landmarks, index=False)
    print(f"landmarks of {len(points)} real crops of {rows['video_id'].nunique()} videos")


def score(profile: str, variant: str, seed: int) -> None:
    """Predictions of one run -> its row of Table 3 and what a reviewer reads beside it, in git."""
    from ..project.notebooks import weave  # nbformat costs more than a second: scoring one's own video needs none

    place, options = places(profile), load().profile(profile).scoring
    source, out = place.predictions(variant, seed), place.runs / f"{variant}-{seed}"
    files = sorted(source.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"no predictions in {source}: run dvc repro predict@{profile}-{variant}-{seed} first")
    tested = [file for file in files if file.stem != VALIDATION]
    videos = _video_scores(tested)
    row = table_row(videos, _unscored(place.index, videos), options.threshold)
    if variant == "sbi":
        row["own_protocol"] = sbi_protocol(_video_scores(tested, "frame_max"), options.threshold)
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / "scores.json", row)
    _write_csv(out / "videos.csv", videos)
    _write_csv(out / "validation.csv", _video_scores([source / f"{VALIDATION}.parquet"]))
    _write_csv(out / "roc.csv", roc(videos["label"], videos["p_fake"]))
    weights = place.weights(variant, seed)
    for name in ("history.csv", "provenance.json"):
        shutil.copyfile(weights / name, out / name)
    lesson = place.base / "notebooks" / f"{LESSONS.get(variant, '05_finetune')}.ipynb"
    weave(weights / "notebook.ipynb", lesson, out / "finetune.ipynb")


def readme_with_results(base: Path) -> str:
    """README.md with its results table made anew from ``results/`` (its numbers are never typed)."""
    results, begin, end = base / "results", *README_MARKS
    table = scenarios(read_published(results / "published" / "scores"), read_scores(results / "demo" / "runs"), "demo")
    before, _, rest = (base / "README.md").read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def _video_scores(files: list[Path], reduce: str = "mean") -> pd.DataFrame:
    """Scores of all videos; one file's crops are held at a time (a video's crops lie in one file)."""
    parts = [video_scores(pd.read_parquet(file), reduce) for file in files]
    return pd.concat(parts).sort_values("video_id", ignore_index=True)


def _unscored(index_file: Path, videos: pd.DataFrame) -> dict[str, int]:
    """Number of test videos per corpus that have no crop and hence no score."""
    listed = pd.read_parquet(index_file, columns=["video_id", "dataset", "split"])
    missing = listed[(listed["split"] == "test") & ~listed["video_id"].isin(videos["video_id"])]
    return missing["dataset"].value_counts().sort_index().to_dict()


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Fractions to four decimals, the same bytes on every system."""
    table.round(4).to_csv(path, index=False, lineterminator="\n")


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def workers() -> int:
    """Processes for preprocessing: one a core."""
    return os.cpu_count() or 1
