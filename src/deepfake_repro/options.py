"""Blocks of ``params.yaml`` for methods beside the rows of Table 3; read by ``params``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LnClip:
    """LNCLIP-DF (Yermakov et al. 2025): network, losses on the hypersphere, pairing, recipe."""

    start: str
    architecture: str
    depth: int
    input_size: int
    augmentation: str
    head_std: float
    epochs: int
    cycle_epochs: int
    warmup_epochs: int
    warmup_learning_rate: float
    learning_rate: float
    min_learning_rate: float
    weight_decay: float
    batch_size: int
    paired: bool
    sources: str
    alignment: float
    uniformity: float
    slerp: int
    selection: str
    precision: str
    workers: int
