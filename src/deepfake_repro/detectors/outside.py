"""A detector from outside, or its predictions alone, as a row beside those of a profile.

The row is scored on the same crops and test sets as ours and compared with each of them, paired
over videos. Everything goes to ``results/<profile>/outside/<name>``; the report shows the rows of
``data/detectors.yaml`` below ours (``report.beside``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crops.store import CropStore
from ..evaluation.field_metrics import field_metrics, frame_scores
from ..evaluation.metrics import VIDEO_COLUMNS, auc, table_row, video_scores, with_sources
from ..evaluation.prediction import crops_of_sets
from ..evaluation.rows import publishable, summary, unscored_videos, write_csv, write_json
from ..evaluation.statistics import comparisons, delong, intervals, paired_bootstrap
from ..project.layout import Layout
from ..project.params import CropOptions, Scoring, load
from ..project.paths import Paths, profile_paths
from ..project.progress import track
from ..project.vocabulary import METRICS, VALIDATION
from ..training.loading import CROP_KEY, positions
from .aggregation import AGGREGATIONS, select_faces
from .loading import LoadedDetector, load_detector
from .manifest import DetectorManifest
from .recropping import recrop

AT_ONCE = 64
"""Crops that a detector gets in one call."""
SWAPPED = 0.35
"""AUC on validation videos below which the order of classes is probably swapped."""
DETECTED = ["x0", "y0", "x1", "y1", "score"]


def evaluate_detector(
    folder: Path,
    profile: str,
    as_stored: bool = False,
    name: str = "",
    parent: Path | None = None,
    anew: bool = False,
) -> Path:
    """Score the crops of ``profile`` with the detector in ``folder``; return the row's folder.

    ``as_stored``: take the stored crops although the manifest wants other ones; ``name``: of the
    row, by default the folder's; ``parent``: where its folder is made, by default
    ``results/<profile>/outside``; ``anew``: crop the videos by the manifest's recipe instead of
    taking stored crops. Raises ``ValueError`` if the store cannot serve the manifest's recipe.
    """
    loaded = load_detector(folder)
    options = load().profile(profile)
    paths = profile_paths(profile)
    index = pd.read_parquet(paths.index)
    if anew:
        store = CropStore(recrop(loaded.manifest, options.crops, index, paths))
    else:
        if not as_stored:
            check_store(loaded.manifest, options.crops, profile)
        store = CropStore(paths.crops)
    crops = {
        name: _predictions(loaded, store, rows, name)
        for name, rows in crops_of_sets(index, store).items()
    }
    validation = crops.pop(VALIDATION, None)
    if validation is not None and validation["label"].nunique() == 2:
        _warn_if_swapped(_videos(validation, loaded.manifest))
    parts = [_videos(part, loaded.manifest) for part in crops.values()]
    tested = pd.concat(parts).sort_values("video_id", ignore_index=True)
    frames = pd.concat([frame_scores(part) for part in crops.values()], ignore_index=True)
    out = _row_folder(paths, name or folder.absolute().name, parent)
    _write(out, tested, index, paths, options.scoring, frames)
    loaded.manifest.write(out)
    return out


def evaluate_scores(file: Path, profile: str, name: str = "", parent: Path | None = None) -> Path:
    """Read anybody's predictions of videos, ``video`` (or ``file``) and ``p_fake``, as a row.

    ``name`` and ``parent`` as for :func:`evaluate_detector`; the default name is the file's.
    Returns the row's folder; lines that match no test video, or several, go to ``unmatched.csv``.
    Raises ``ValueError`` for missing columns, scores outside [0, 1], and if nothing matches.
    """
    paths = profile_paths(profile)
    index = pd.read_parquet(paths.index)
    tested = index[index["split"] == "test"]
    given = _read_scores(file)
    given["video_id"] = [video for video, _ in _matches(given["name"], tested)]
    given["reason"] = [reason for _, reason in _matches(given["name"], tested)]
    repeated = given["video_id"].ne("") & given["video_id"].duplicated()
    given.loc[repeated, "reason"] = "names a video of an earlier line"
    matched = given[given["reason"] == ""]
    unmatched = given[given["reason"] != ""]
    if matched.empty:
        raise ValueError(
            f"{file.name}: none of its {len(given)} lines names a test video of profile {profile}; "
            f"they look like {tested['video_id'].iloc[0]} or {tested['path'].iloc[0]}"
        )
    videos = tested[VIDEO_COLUMNS].merge(matched[["video_id", "p_fake"]], on="video_id")
    videos = videos.sort_values("video_id", ignore_index=True)
    out = _row_folder(paths, name or file.stem, parent)
    _write(out, videos, index, paths, load().profile(profile).scoring)
    write_csv(out / "unmatched.csv", unmatched[["name", "reason"]])
    print(f"{len(matched)} of {len(given)} lines matched; the others: {out / 'unmatched.csv'}")
    return out


def check_store(manifest: DetectorManifest, options: CropOptions, profile: str) -> None:
    """Raise ``ValueError`` if the stored crops of ``profile`` are not those of the manifest."""
    if manifest.crop is None:
        return
    wanted = manifest.crop.options(options)
    if type(wanted) is CropOptions and (wanted.margin, wanted.size) == (
        options.margin,
        options.size,
    ):
        return
    raise ValueError(
        f"{manifest.name} wants {manifest.crop.shape} crops of margin {manifest.crop.margin:g} and "
        f"size {manifest.crop.size or 'as in the frame'}, the store of profile {profile} has "
        f"stretched ones of margin {options.margin:g} and size {options.size}: give --recrop to "
        "cut the videos by its recipe, --as-stored to take those crops nevertheless, or leave out "
        "'crop'"
    )


def _predictions(
    loaded: LoadedDetector, store: CropStore, rows: pd.DataFrame, name: str
) -> pd.DataFrame:
    """Score the crops of one test set that the detector takes."""
    manifest = loaded.manifest
    if manifest.crop:
        rows = _selected(rows, store, manifest.crop.faces)
    at = positions(store, rows)
    starts = track(range(0, len(at), AT_ONCE), f"predict {name}")
    parts = [
        loaded.scorer([store.image(int(row)) for row in at[start : start + AT_ONCE]]).p_fake
        for start in starts
    ]
    return rows.assign(p_fake=np.concatenate(parts))


def _videos(table: pd.DataFrame, manifest: DetectorManifest) -> pd.DataFrame:
    """Aggregate the scores of crops to videos by the detector's rule."""
    videos = video_scores(table)
    rule = AGGREGATIONS[manifest.aggregation]
    scores = {
        video: rule(part["frame"].to_numpy(), part["p_fake"].to_numpy(np.float64))
        for video, part in table.groupby("video_id")
    }
    return videos.assign(p_fake=videos["video_id"].map(scores))


def _selected(rows: pd.DataFrame, store: CropStore, rule: str) -> pd.DataFrame:
    """Keep the faces of each frame that ``rule`` takes."""
    detected = store.table([*CROP_KEY, *DETECTED])
    faces = rows.merge(detected, on=CROP_KEY, how="left", validate="one_to_one")
    areas = ((faces["x1"] - faces["x0"]) * (faces["y1"] - faces["y0"])).to_numpy()
    scores = faces["score"].to_numpy()
    keep = np.zeros(len(faces), bool)
    for members in faces.groupby(["video_id", "frame"]).indices.values():
        keep[members] = select_faces(rule, areas[members], scores[members])
    return rows[keep].reset_index(drop=True)


def _warn_if_swapped(validation: pd.DataFrame) -> None:
    area = auc(validation["label"].to_numpy(), validation["p_fake"].to_numpy())
    if area < SWAPPED:
        print(
            f"warning: AUC {100 * area:.0f} % on validation videos: fakes score lower than "
            "reals; is the order of 'classes' in detector.json right?"
        )


def _row_folder(paths: Paths, name: str, parent: Path | None) -> Path:
    """Make the folder of a row; ``ValueError`` if its name is that of one of our rows."""
    key = _slug(name)
    if key in load().variants:
        raise ValueError(f"{key} is the name of one of our rows: give another by --name")
    folder = parent or paths.base / "results" / paths.profile / "outside"
    out = folder / key
    out.mkdir(parents=True, exist_ok=True)
    return out


def _write(
    out: Path,
    videos: pd.DataFrame,
    index: pd.DataFrame,
    paths: Paths,
    options: Scoring,
    frames: pd.DataFrame | None = None,
) -> None:
    """Write the row and its paired comparison with each of our rows; print the averages."""
    name = out.name
    videos = with_sources(videos, index)
    profile = load().profile(paths.profile)
    layout = profile.layout
    row = table_row(videos, unscored_videos(index, videos), options.threshold, layout)
    row["further"] = field_metrics(videos, frames, layout)
    write_json(out / "scores.json", row)
    write_json(out / "summary.json", summary(row, layout))
    write_csv(out / "videos.csv", publishable(profile.report)(videos))
    runs = {folder.parent.name: pd.read_csv(folder) for folder in paths.runs.glob("*/videos.csv")}
    runs = dict(sorted(runs.items())) | {f"{name}-0": pd.read_csv(out / "videos.csv")}
    common = set.intersection(*(set(table["video_id"]) for table in runs.values()))
    runs = {run: table[table["video_id"].isin(common)] for run, table in runs.items()}
    replicates = paired_bootstrap(runs, options.bootstrap, 0, options.threshold, layout)
    of_row = intervals(replicates, layout.sets)
    of_row = of_row[of_row["row"] == name]
    pairs = [(name, other) for other in replicates.rows if other != name]
    points = _points(runs, options.threshold, layout)
    paired = comparisons(pairs, {}, points, replicates, delong(runs, layout), layout)
    paired = paired.drop(columns="published")[paired["reproduced"].notna()]
    write_csv(out / "intervals.csv", of_row)
    write_csv(out / "comparisons.csv", paired)
    print(_overview(name, points[name], of_row, paired, len(common)))


def _points(
    runs: Mapping[str, pd.DataFrame], threshold: float, layout: Layout
) -> dict[str, dict[str, Any]]:
    """Compute each row's cells on the common videos, averaged over its seeds."""
    by_row: dict[str, list[dict]] = {}
    for run, table in runs.items():
        by_row.setdefault(run.rpartition("-")[0], []).append(
            table_row(table, {}, threshold, layout)
        )
    return {
        row: {
            metric: {
                key: float(np.mean([seed[metric][key] for seed in seeds]))
                for key in seeds[0][metric]
            }
            for metric in METRICS
        }
        for row, seeds in by_row.items()
    }


def _overview(
    name: str,
    points: Mapping[str, Mapping[str, float]],
    of_row: pd.DataFrame,
    paired: pd.DataFrame,
    videos: int,
) -> str:
    """Write the AUC per set with its interval, and how many differences can be seen."""
    limits = of_row[of_row["metric"] == "auc"].set_index("set")
    lines = [f"{name}: AUC in percent on {videos} videos that all rows have scored"]
    for key, value in points["auc"].items():
        interval = ""
        if key in limits.index:
            interval = f" [{limits.loc[key, 'low']:.0f}–{limits.loc[key, 'high']:.0f}]"
        lines.append(f"  {key:16} {value:6.1f}{interval}")
    seen = paired[paired["differs"] == "yes"]
    lines.append(f"{len(seen)} of {len(paired)} differences to our rows exclude zero")
    return "\n".join(lines)


def _read_scores(file: Path) -> pd.DataFrame:
    """Read ``name`` and ``p_fake`` of a CSV file; ``ValueError`` names what is wrong."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    named = [column for column in ("video", "video_id", "file") if column in table]
    if not named or "p_fake" not in table:
        raise ValueError(
            f"{file.name}: columns are {', '.join(table)}; it needs 'video' or 'file', and 'p_fake'"
        )
    scores = pd.to_numeric(table["p_fake"], errors="coerce")
    wrong = ~scores.between(0, 1)
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise ValueError(
            f"{file.name} line {line + 2}: p_fake is {table['p_fake'][line]!r}, not in [0, 1]"
        )
    return pd.DataFrame({"name": table[named[0]], "p_fake": scores})


def _matches(names: pd.Series, tested: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield (video_id, '') of each name, or ('', reason).

    A name is a ``video_id``, or a path that ends like the path of one test video, with or without
    its suffix: the longest ending that any test video has decides.
    """
    identities = set(tested["video_id"])
    endings: dict[str, set[str]] = {}
    for row in tested.itertuples():
        for path in {row.path, str(Path(row.path).with_suffix("")), row.video_id}:
            for ending in _endings(path):
                endings.setdefault(ending, set()).add(row.video_id)
    for name in names:
        found = [endings[ending] for ending in _endings(name) if ending in endings]
        if name in identities:
            yield name, ""
        elif not found:
            yield "", "no test video of this name"
        elif len(found[0]) > 1:
            yield "", f"{len(found[0])} test videos of this name: give more of the path"
        else:
            yield next(iter(found[0])), ""


def _endings(path: str) -> Iterator[str]:
    """Yield the endings of a path in whole folders, the longest first."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def _slug(name: str) -> str:
    """Make a row's name: letters, digits and underscores."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "detector"
