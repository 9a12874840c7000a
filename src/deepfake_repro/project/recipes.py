"""Blocks of ``params.yaml`` as frozen dataclasses: rows, recipes of the methods, other options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class Loss:
    """The loss on embeddings that a row adds to the cross-entropy (Section 3.3).

    ``name``: ``none``, a key of ``TRIPLET_LOSSES``, or ``pml:<class>`` of pytorch-metric-learning.
    ``margin`` is of the paper's losses, in units of distance; ``miner`` (``pml:<class>``),
    ``options`` and ``miner_options`` are of pytorch-metric-learning.
    """

    name: str = "none"
    margin: float = 0.0
    weight: float = 0.0
    miner: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    miner_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One row of Table 3: all that distinguishes it from the others (Sections 3.2-3.4).

    ``name`` is printed. ``in_paper``: it is one of the ten rows of the paper. ``method``: a folder
    of ``methods``. ``init``: a key of the profile's ``start``. ``backbone``: values of this row in
    place of those of the method's block, such as ``architecture`` and ``learning_rate``, and
    ``start``, in all profiles; ``profiles``: the same for one profile.
    """

    name: str
    in_paper: bool = False
    method: str = FINETUNE
    init: str = ""
    labels: str = "binary"
    loss: Loss = field(default_factory=Loss)
    backbone: Mapping[str, Any] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Miniature:
    """Size of the embedded benchmark: seconds per clip and real takes per corpus and split."""

    seed: int
    train_seconds: float
    test_seconds: float
    videos: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Corpora:
    """The corpora that a profile trains on, and those of each scenario of its table of results."""

    training: tuple[str, ...]
    table: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class IndexOptions:
    """Options for reading the corpora (Section 4.1), one per choice that the paper leaves open."""

    compression: str
    composite_category: str
    forgerynet_category: str
    split_seed: int
    forgerynet_validation: float
    openforensics: Mapping[str, int]
    masks: bool


@dataclass(frozen=True)
class CropOptions:
    """Sampling rate, face detector, margin and size of the crops (Section 4.1), and scheduling."""

    frames_per_second: float
    frames_per_clip: int
    detector: str
    detector_weights: str
    detector_side: int
    image_face: str
    min_score: float
    min_side: int
    margin: float
    size: int
    encoding: str
    max_skipped: float
    video_timeout: float
    scheduler: str


@dataclass(frozen=True)
class Sampling:
    """The balanced training sample (Section 4.1)."""

    real_to_fake: float
    seed: int


@dataclass(frozen=True)
class Start:
    """Source of each set of start weights: a file, or ``timm:<tag>`` (Section 3.2)."""

    imagenet: str
    fsfm: str
    sbi: str


@dataclass(frozen=True)
class Predict:
    """Inference on test crops: batch size, precision, devices, and loader workers per device."""

    batch_size: int
    precision: str
    devices: int
    workers: int


@dataclass(frozen=True)
class Scoring:
    """Decision threshold and bootstrap draws for confidence intervals (Section 4.3)."""

    threshold: float
    bootstrap: int


@dataclass(frozen=True)
class Reporting:
    """What the report of a profile says about it, which claims it judges, whether it shows faces.

    ``caveat``: what the profile is instead of the paper's setting. ``claims``: a file with claims.
    """

    caveat: str
    claims: str
    faces: bool


@dataclass(frozen=True)
class LabelCurve:
    """AUC against the number of labelled crops, for the starts of ``rows``.

    ``sizes``: crops of each balanced subset; a size that the sample cannot fill is left out.
    ``min_steps``: of fine-tuning, reached by repeating a small subset. ``neighbours``: of the
    nearest-neighbour classifier. ``split``: of the training corpora, ``test`` or ``validation``;
    ``test_crops``: of this split, at most.
    """

    rows: tuple[str, ...]
    sizes: tuple[int, ...]
    fine_tune_sizes: tuple[int, ...]
    min_steps: int
    neighbours: int
    split: str
    test_crops: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Robustness:
    """The robustness study: perturbations of test crops at several severities.

    ``sets``: test sets, all if empty; ``crops_per_video``: 0 for all.
    """

    sets: tuple[str, ...]
    crops_per_video: int
    severities: Mapping[str, tuple[float, ...]]
