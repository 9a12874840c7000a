"""Model + crops -> one row per crop (Section 3.4: the probability of fake is the sum over fake classes)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from .attribution import p_fake
from .model import Detector
from .progress import track


@torch.inference_mode()
def class_probabilities(model: Detector, loader: DataLoader, fabric: Fabric, what: str = "predict") -> np.ndarray:
    """Softmax probabilities float32 ``[N, C]`` in the loader's order, averaged over the views of each crop."""
    model.eval()
    batches = []
    for images, *_ in track(loader, what):
        images = fabric.to_device(images)
        views = images.shape[1]
        _, logits = model(images.flatten(0, 1))
        batches.append(logits.float().softmax(-1).unflatten(0, (-1, views)).mean(1).cpu())
    return torch.cat(batches).numpy()


def prediction_table(rows: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """``rows`` (one per crop) with ``p_fake`` and one column ``p_<class>`` each, rounded to 6 decimals."""
    columns = {f"p_{name.lower()}": probabilities[:, number].round(6) for number, name in enumerate(classes)}
    return rows.assign(**columns | {"p_fake": np.asarray(p_fake(probabilities)).round(6)})
