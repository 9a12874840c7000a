"""Model + crops -> one row per crop (Section 3.4: the probability of fake is the sum over fake classes).

Crops stream: only a group of rows is ever held, whatever the size of a test set. A finished test
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

from ..crops.store import CropStore
from ..project.closure import code_digest
from ..project.files import replacing
from ..project.params import Predict, load
from ..project.paths import Paths, profile_paths
from ..project.progress import track
from ..project.provenance import file_digest, fingerprint
from ..project.vocabulary import VALIDATION
from ..training import checkpoints
from ..training.detector import Detector, by_view, over_views, probabilities
from ..training.devices import shown, this_fabric
from ..training.labels import p_fake
from ..training.loading import CROP_KEY, CropDataset, evaluation_loader, positions
from ..training.transforms import views_of

ROWS_AT_ONCE = 2**16
"""Rows of a Parquet row group; a fixed number, so that batch size and devices do not change the file."""
VIDEO_FACTS = ["video_id", "dataset", "manipulation", "category", "label"]


@torch.inference_mode()
def probability_batches(
    detector: Detector, loader: DataLoader, fabric: Fabric, what: str
) -> Iterator[np.ndarray]:
    """Softmax probabilities float32 ``[b, C]`` batch by batch, averaged over the views of each crop."""
    detector.eval()
    for images, *_ in shown(loader, what, len(loader), fabric):
        images = fabric.to_device(images)
        with fabric.autocast():
            _, logits = by_view(detector, images)
        yield probabilities(logits).cpu().numpy()


def class_probabilities(
    detector: Detector, loader: DataLoader, fabric: Fabric, what: str = "predict"
) -> np.ndarray:
    """Softmax probabilities float32 ``[N, C]`` of a small set in the loader's order; see ``probability_batches``."""
    return np.concatenate(list(probability_batches(detector, loader, fabric, what)))


@torch.inference_mode()
def embeddings(
    detector: Detector, crops: CropDataset, batch_size: int, what: str = "embed"
) -> np.ndarray:
    """Embeddings float32 ``[N, D]`` of crops, averaged over the views of each, as in training (Section 4.3)."""
    fabric = Fabric(accelerator="auto", devices=1)
    detector = fabric.to_device(detector.eval())
    loader = track(evaluation_loader(crops, batch_size, workers=0), what)
    batches = [
        over_views(detector, fabric.to_device(images))[0].float().cpu() for images, *_ in loader
    ]
    return torch.cat(batches).numpy()


def prediction_table(
    rows: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]
) -> pd.DataFrame:
    """``rows`` (one per crop) with ``p_fake`` and one column ``p_<class>`` each, rounded to 6 decimals."""
    columns = {
        f"p_{name.lower()}": probabilities[:, number].round(6)
        for number, name in enumerate(classes)
    }
    return rows.assign(**columns | {"p_fake": np.asarray(p_fake(probabilities)).round(6)})


def crops_of_sets(index: pd.DataFrame, store: CropStore) -> dict[str, pd.DataFrame]:
    """Set -> a row per crop of its videos: crop key and facts of the video, no image.

    The sets are each corpus' split ``test`` and, under ``VALIDATION``, the split ``val`` of all
    corpora together, on which thresholds and calibration are fitted (never on a test set).
    """
    used = index[index["split"].isin(["test", "val"])]
    names = used["dataset"].where(used["split"] == "test", VALIDATION).rename("set")
    rows = store.table(CROP_KEY).merge(used[VIDEO_FACTS].join(names), on="video_id")
    return {
        name: part.drop(columns="set").reset_index(drop=True) for name, part in rows.groupby("set")
    }


def write_predictions(
    file: Path, rows: pd.DataFrame, batches: Iterable[np.ndarray], classes: tuple[str, ...]
) -> None:
    """Write the predictions of ``rows`` as their probabilities ``[b, C]`` arrive; the file appears when it is whole."""
    nothing = prediction_table(rows.iloc[:0], np.empty((0, len(classes)), np.float32), classes)
    schema = pa.Schema.from_pandas(nothing, preserve_index=False)

    def tables() -> Iterator[pa.Table]:
        first = 0
        for batch in batches:
            table = prediction_table(rows.iloc[first : first + len(batch)], batch, classes)
            yield pa.Table.from_pandas(table, schema, preserve_index=False)
            first += len(batch)

    _write(file, schema, tables())


def predict_set(
    detector: Detector,
    store: CropStore,
    rows: pd.DataFrame,
    facts: dict,
    options: Predict,
    fabric: Fabric,
    file: Path,
) -> Path:
    """Predictions of one test set in ``file``, a row per crop of ``rows``; a file that is there is kept.

    ``facts``: the manifest of the weights (views, size, normalisation, classes). Each device predicts a run of rows.
    """
    if file.is_file():
        return file
    parts = [file.with_suffix(f".{rank}.parquet") for rank in range(fabric.world_size)]
    mine = rows.iloc[np.array_split(np.arange(len(rows)), fabric.world_size)[fabric.global_rank]]
    data = CropDataset(store, positions(store, mine), views_of(facts), mine["label"])
    loader = evaluation_loader(data, options.batch_size, options.workers)
    batches = probability_batches(detector, loader, fabric, f"predict {file.stem}")
    write_predictions(parts[fabric.global_rank], mine, batches, tuple(facts["classes"]))
    fabric.barrier()
    if fabric.is_global_zero:
        _join(parts, file)
    fabric.barrier()
    return file


def predict_row(profile: str, variant: str, seed: int) -> dict[str, Path]:
    """Predict every set by one run's weights, on the devices at hand; set -> file in the scratch folder.

    Finished sets are not predicted again: what ``torchrun`` has begun, notebook 06 takes up.
    """
    paths, options = profile_paths(profile), load().profile(profile).predict
    fabric, (detector, facts) = (
        this_fabric(options.precision),
        checkpoints.load(paths.weights(variant, seed)),
    )
    detector, store = fabric.to_device(detector), CropStore(paths.crops)
    scratch = predictions_scratch(paths, variant, seed, options)
    sets = crops_of_sets(pd.read_parquet(paths.index), store)
    return {
        name: predict_set(
            detector, store, rows, facts, options, fabric, scratch / f"{name}.parquet"
        )
        for name, rows in sets.items()
    }


def predictions_scratch(paths: Paths, variant: str, seed: int, options: Predict) -> Path:
    """Where a run's finished test sets wait: named by weights, code, index, crops and precision."""
    weights = file_digest(paths.weights(variant, seed) / "model.safetensors")
    parts = [(part.name, part.stat()) for part in sorted(paths.crops.glob("*.arrow"))]
    crops = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in parts]
    return paths.scratch(
        fingerprint(
            weights, code_digest(predict_row), file_digest(paths.index), options.precision, crops
        )
    )


def _write(file: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """The rows of ``tables`` in row groups of ``ROWS_AT_ONCE``, written under another name until they are whole."""
    held = schema.empty_table()
    with replacing(file) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for table in tables:
            held = pa.concat_tables([held, table])
            while len(held) >= ROWS_AT_ONCE:
                writer.write_table(held[:ROWS_AT_ONCE].combine_chunks())
                held = held[ROWS_AT_ONCE:]
        writer.write_table(held.combine_chunks())


def _join(parts: list[Path], file: Path) -> None:
    """One file from those of all devices: the same bytes as from one device."""
    sources = [pq.ParquetFile(part) for part in parts]
    groups = (group for source in sources for group in source.iter_batches(ROWS_AT_ONCE))
    schema = sources[0].schema_arrow
    _write(file, schema, (pa.Table.from_batches([group], schema) for group in groups))
    for part in parts:
        part.unlink()
