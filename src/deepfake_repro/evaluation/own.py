"""A test corpus of your own: one run's scores on it, beside its row of Table 3."""

from __future__ import annotations

import pandas as pd

from ..crops.store import CropStore
from ..project.params import load
from ..project.paths import profile_paths
from ..training import checkpoints
from ..training.devices import launch_fabric
from .field_metrics import field_metrics, frame_scores
from .metrics import table_row, video_scores, with_sources
from .prediction import class_probabilities, crops_of_sets, prediction_table, test_loader
from .rows import unscored_videos, write_csv, write_json


def score_own(profile: str, variant: str, seed: int, corpus: str) -> None:
    """Write one run's scores on a test corpus of your own below ``results/<profile>/runs``.

    ``own/<corpus>.json`` has the keys of ``scores.json``, ``own/<corpus>.csv`` the columns of
    ``videos.csv``. Raises ``ValueError`` if no video of the corpus has a crop.
    """
    paths = profile_paths(profile)
    options = load().profile(profile)
    fabric = launch_fabric(options.predict.precision)
    detector, manifest = checkpoints.load(paths.weights(variant, seed))
    fabric.to_device(detector)
    store = CropStore(paths.part_crops(corpus))
    index = pd.read_parquet(paths.part_index(corpus))
    sets = crops_of_sets(index, store)
    if corpus not in sets:
        raise ValueError(f"{corpus}: none of its {len(index)} videos has a crop to score")
    rows = sets[corpus]
    loader = test_loader(store, rows, manifest, options.predict)
    probabilities = class_probabilities(detector, loader, fabric, f"predict {corpus}")
    predictions = prediction_table(rows, probabilities, manifest.classes)
    videos = with_sources(video_scores(predictions), index)
    row = table_row(videos, unscored_videos(index, videos), options.scoring.threshold)
    row["further"] = field_metrics(videos, frame_scores(predictions))
    out = paths.own_results(variant, seed)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / f"{corpus}.json", row)
    write_csv(out / f"{corpus}.csv", videos)
