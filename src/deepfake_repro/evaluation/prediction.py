"""Detector + crops -> one row per crop with its probabilities (Section 3.4).

Crops are streamed: memory holds one group of rows, whatever the size of a test set. A finished test
set is kept and not predicted again; several devices each write a part of its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ..crops.store import CropStore, list_parts
from ..project.code.closure import code_digest
from ..project.files import replacing
from ..project.params import Predict, load
from ..project.paths import Paths, profile_paths
from ..project.progress import track
from ..project.provenance import file_digest, fingerprint
from ..project.vocabulary import VALIDATION
from ..training import checkpoints
from ..training.detector import Detector, by_view, over_views, probabilities
from ..training.devices import accelerator, launch_fabric, with_progress
from ..training.labels import p_fake
from ..training.loading import CROP_KEY, CropDataset, evaluation_loader, positions
from ..training.manifest import Manifest
from .field_metrics import field_metrics, frame_scores
from .metrics import VIDEO_COLUMNS, table_row, video_scores, with_sources
from .rows import unscored_videos, write_csv, write_json

ROWS_AT_ONCE = 2**16
"""Rows of a Parquet row group; fixed, so that batch size and devices do not change the file."""


@torch.inference_mode()
def probability_batches(
    detector: Detector, loader: DataLoader, fabric: Fabric, what: str
) -> Iterator[np.ndarray]:
    """Yield softmax probabilities float32 ``[b, C]`` per batch, averaged over each crop's views."""
    detector.eval()
    for images, *_ in with_progress(loader, what, len(loader), fabric):
        images = fabric.to_device(images)
        with fabric.autocast():
            _, logits = by_view(detector, images)
        yield probabilities(logits).cpu().numpy()


def class_probabilities(
    detector: Detector, loader: DataLoader, fabric: Fabric, what: str = "predict"
) -> np.ndarray:
    """Collect :func:`probability_batches` of a small set into one float32 ``[N, C]``."""
    return np.concatenate(list(probability_batches(detector, loader, fabric, what)))


@torch.inference_mode()
def embeddings(
    detector: Detector, crops: CropDataset, batch_size: int, what: str = "embed"
) -> np.ndarray:
    """Embed crops: float32 ``[N, D]``, averaged over each crop's views (Section 4.3)."""
    fabric = Fabric(accelerator=accelerator(), devices=1)
    fabric.to_device(detector.eval())
    loader = track(evaluation_loader(crops, batch_size, workers=0), what)
    batches = [
        over_views(detector, fabric.to_device(images))[0].float().cpu() for images, *_ in loader
    ]
    return torch.cat(batches).numpy()


def prediction_table(
    rows: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Add ``p_fake`` and ``p_<class>``, rounded to 6 decimals, to ``rows`` (one per crop)."""
    columns = {
        f"p_{name.lower()}": probabilities[:, number].round(6)
        for number, name in enumerate(classes)
    }
    columns["p_fake"] = np.asarray(p_fake(probabilities)).round(6)
    return rows.assign(**columns)


def crops_of_sets(index: pd.DataFrame, store: CropStore) -> dict[str, pd.DataFrame]:
    """Return set -> one row per crop: the crop's key and its video's columns, without the image.

    The sets are the ``test`` split of each corpus and, under ``VALIDATION``, the ``val`` split of
    all corpora together. Thresholds and calibration are fitted on the latter, never on a test set.
    """
    used = index[index["split"].isin(["test", "val"])]
    names = used["dataset"].where(used["split"] == "test", VALIDATION).rename("set")
    rows = store.table(CROP_KEY).merge(used[VIDEO_COLUMNS].join(names), on="video_id")
    return {
        name: part.drop(columns="set").reset_index(drop=True) for name, part in rows.groupby("set")
    }


def write_predictions(
    file: Path, rows: pd.DataFrame, batches: Iterable[np.ndarray], classes: tuple[str, ...]
) -> None:
    """Write the predictions of ``rows`` as their probabilities ``[b, C]`` arrive.

    ``file`` appears only once it is complete.
    """
    empty = prediction_table(rows.iloc[:0], np.empty((0, len(classes)), np.float32), classes)
    schema = pa.Schema.from_pandas(empty, preserve_index=False)

    def tables() -> Iterator[pa.Table]:
        first = 0
        for batch in batches:
            table = prediction_table(rows.iloc[first : first + len(batch)], batch, classes)
            yield pa.Table.from_pandas(table, schema, preserve_index=False)
            first += len(batch)

    _write(file, schema, tables())


def test_loader(
    store: CropStore, rows: pd.DataFrame, manifest: Manifest, options: Predict
) -> DataLoader:
    """Make the loader of the crops of ``rows`` as the weights of ``manifest`` see them."""
    crops = CropDataset(store, positions(store, rows), manifest.transform, rows["label"])
    return evaluation_loader(crops, options.batch_size, options.workers)


def predict_set(
    detector: Detector,
    store: CropStore,
    rows: pd.DataFrame,
    manifest: Manifest,
    options: Predict,
    fabric: Fabric,
    file: Path,
) -> Path:
    """Predict one test set into ``file``, one row per crop of ``rows``; an existing file is kept.

    ``manifest`` belongs to the weights of ``detector``. Each device predicts a contiguous part of
    the rows.
    """
    if file.is_file():
        return file
    parts = [file.with_suffix(f".{rank}.parquet") for rank in range(fabric.world_size)]
    numbers = np.array_split(np.arange(len(rows)), fabric.world_size)
    own_rows = rows.iloc[numbers[fabric.global_rank]]
    loader = test_loader(store, own_rows, manifest, options)
    batches = probability_batches(detector, loader, fabric, f"predict {file.stem}")
    write_predictions(parts[fabric.global_rank], own_rows, batches, manifest.classes)
    fabric.barrier()
    if fabric.is_global_zero:
        _join(parts, file)
    fabric.barrier()
    return file


def predict_row(profile: str, variant: str, seed: int) -> dict[str, Path]:
    """Predict every set with one run's weights on all devices; set -> file in the scratch folder.

    Finished sets are not predicted again, so notebook 06 resumes what ``torchrun`` has begun.
    """
    paths = profile_paths(profile)
    options = load().profile(profile).predict
    fabric = launch_fabric(options.precision)
    detector, manifest = checkpoints.load(paths.weights(variant, seed))
    fabric.to_device(detector)
    store = CropStore(paths.crops)
    scratch = predictions_scratch(paths, variant, seed, options)
    sets = crops_of_sets(pd.read_parquet(paths.index), store)
    return {
        name: predict_set(
            detector, store, rows, manifest, options, fabric, scratch / f"{name}.parquet"
        )
        for name, rows in sets.items()
    }


def predictions_scratch(paths: Paths, variant: str, seed: int, options: Predict) -> Path:
    """Return the folder of a run's finished test sets.

    Its name depends on the weights, the code, the index, the crops and the precision.
    """
    weights = file_digest(paths.weights(variant, seed) / "model.safetensors")
    parts = list_parts(paths.crops)[["part", "bytes", "stamp"]].to_csv(index=False)
    code = code_digest(predict_row)
    index = file_digest(paths.index)
    return paths.scratch(fingerprint(weights, code, index, options.precision, parts))


def _write(file: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write ``tables`` in row groups of ``ROWS_AT_ONCE``; ``file`` appears once complete."""
    pending = schema.empty_table()
    with replacing(file) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for table in tables:
            pending = pa.concat_tables([pending, table])
            while len(pending) >= ROWS_AT_ONCE:
                writer.write_table(pending[:ROWS_AT_ONCE].combine_chunks())
                pending = pending[ROWS_AT_ONCE:]
        writer.write_table(pending.combine_chunks())


def _join(parts: list[Path], file: Path) -> None:
    """Join the files of all devices: the same bytes as one device writes."""
    sources = [pq.ParquetFile(part) for part in parts]
    groups = (group for source in sources for group in source.iter_batches(ROWS_AT_ONCE))
    schema = sources[0].schema_arrow
    _write(file, schema, (pa.Table.from_batches([group], schema) for group in groups))
    for part in parts:
        part.unlink()


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
