"""A tiny untrained network with calibration and provenance, as the pipeline writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deepfake_repro.project.provenance import file_digest
from deepfake_repro.scoring.calibration import fit_gaussian, fit_scores
from deepfake_repro.training import checkpoints
from deepfake_repro.training.detector import build_detector
from deepfake_repro.training.manifest import Manifest

MANIFEST = Manifest(
    "vit_small_patch14_dinov2",
    depth=1,
    input_size=112,
    views="windows",
    classes=("REAL", "FS", "RE"),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def validation_videos(reals: int = 10, fakes: int = 20) -> pd.DataFrame:
    """Make overlapping scores with the columns of ``validation.csv``."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [reals, fakes])
    scores = (1 / (1 + np.exp(-rng.normal(2.0 * labels - 1, 1)))).round(4)
    return pd.DataFrame({"label": labels, "p_fake": scores, "dataset": "ffpp"})


def make(folder: Path, depth: int = 1) -> Path:
    """Write weights, manifest, provenance and calibration to ``folder`` and return it."""
    torch.manual_seed(0)
    network = build_detector(MANIFEST.architecture, 3, depth=depth, input_size=112, head_std=0.5)
    checkpoints.save(network, folder, replace(MANIFEST, depth=depth))
    (folder / "provenance.json").write_text(
        json.dumps({"data": {"data/samples/demo/train.parquet": "0"}, "seed": 0})
    )
    gaussian = fit_gaussian(np.random.default_rng(1).normal(size=(60, 384)))
    embedding = {**gaussian, "crops": 60, "quantiles": {"0.5": 1.0, "0.95": 1.2, "0.99": 1.3}}
    content = {
        "profile": "demo",
        "weights": file_digest(folder / "model.safetensors"),
        **fit_scores(validation_videos()),
        "embedding": embedding,
    }
    (folder / "calibration.json").write_text(json.dumps(content))
    return folder
