"""Training recipes of the methods, as blocks of ``params.yaml``."""

from __future__ import annotations

from dataclasses import dataclass

# Methods that train a row, named after their folders in ``methods``.
FINETUNE = "finetune"
SBI = "sbi"
LNCLIP = "lnclip"
BLOCKS = {FINETUNE: "train", SBI: "sbi", LNCLIP: "lnclip"}
"""The block of a profile with the recipe of each method."""
METHODS = tuple(BLOCKS)


@dataclass(frozen=True)
class Train:
    """Fine-tuning: network and training recipe (Section 4.3)."""

    architecture: str
    depth: int
    input_size: int
    augmentation: str
    epochs: int
    warmup_epochs: int
    batch_size: int
    learning_rate: float
    min_learning_rate: float
    weight_decay: float
    layer_decay: float
    drop_path: float
    head_std: float
    triplet_labels: str
    selection: str
    balance: str
    precision: str
    compile: bool
    fused: bool
    channels_last: bool
    devices: int
    workers: int
    checkpoint_steps: int


@dataclass(frozen=True)
class Blend:
    """Self-blended images: SBI's published ranges, in the order of their use."""

    hulls: tuple[str, ...]
    without_forehead: float
    flip: float
    rgb: float
    rgb_probability: float
    hsv: float
    source_brightness: float
    coarsen: tuple[int, ...]
    sharpen_alpha: tuple[float, ...]
    sharpen_lightness: tuple[float, ...]
    scale: float
    shift_x: float
    shift_y: float
    elastic_alpha: float
    elastic_sigma: float
    mask_side: tuple[int, ...]
    kernel: tuple[int, ...]
    sigma: tuple[float, ...]
    ratios: tuple[float, ...]
    common_probability: float
    common_brightness: float
    jpeg_probability: float
    jpeg_quality: tuple[float, ...]
    box_margin: tuple[float, ...]


@dataclass(frozen=True)
class Sbi:
    """The SBI row: real faces, self-blended pairs, network and training recipe."""

    weights: str
    faces: str
    crops_per_video: int
    architecture: str
    depth: int
    input_size: int
    augmentation: str
    normalisation: str
    epochs: int
    warmup_epochs: int
    constant_epochs: int
    pairs: int
    optimiser: str
    learning_rate: float
    momentum: float
    weight_decay: float
    layer_decay: float
    sam_radius: float
    drop_path: float
    head_std: float
    precision: str
    workers: int
    checkpoint_steps: int
    blend: Blend


@dataclass(frozen=True)
class LnClip:
    """LNCLIP-DF (Yermakov et al. 2025): network, losses on the hypersphere, pairing and recipe."""

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
    checkpoint_steps: int


@dataclass(frozen=True)
class Pretrain:
    """FSFM's pre-training of the ``fsfm`` start weights on real faces (Section 3.2)."""

    faces: str
    start: str
    epochs: int
    warmup_epochs: int
    batch_size: int
    learning_rate: float
    encoder_rate: float
    weight_decay: float
    mask_ratio: float
    decoder_depth: int
    decoder_width: int
    decoder_heads: int
    rep_depth: int
    rep_heads: int
    projector_hidden: int
    projector_out: int
    facial_weight: float
    similarity_weight: float
    momentum: float
    precision: str
    devices: int
    workers: int
    checkpoint_steps: int
