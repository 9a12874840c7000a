"""What ``plan`` needs to know of networks and of this machine: operations and bytes counted, speeds measured.

Operations, parameters and bytes are counted without computing (torch's ``meta`` device), so they
are the same on any machine. Speeds are of this machine, as it is now.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from ..crops.extraction import extract
from ..crops.preprocess import detector_factory
from ..crops.store import CropStore, decode, encode
from ..methods.lnclip import sphere
from ..project.params import Profile, load
from ..project.paths import ASSETS, Paths, corpus_roots, profile_paths
from ..project.vocabulary import FINETUNE, LNCLIP, SBI
from ..training.detector import Detector, build_detector
from ..training.devices import this_fabric
from ..training.loading import seeded
from ..training.losses import cross_entropy
from ..training.transforms import Normalisation, training_transform
from .costs import Network, Speed, bytes_per_crop, counts, report, scaled

GREY = Normalisation((0.5,) * 3, (0.5,) * 3)


def plan(profile: str, images_per_second: float | None = None) -> str:
    """The plan of ``profile``: on this machine, or on a device whose training speed is given.

    ``images_per_second``: of the training step of ``train.architecture``, e.g. from another machine's provenance.
    """
    params, paths = load(), profile_paths(profile)
    options = params.profile(profile)
    found, networks = counts(paths, options), counted(options)
    if not paths.crops.is_dir():
        found = replace(found, crop_bytes=bytes_per_crop(profile_paths("demo").crops))
    if images_per_second:
        told = (
            f"{images_per_second:g} training images/s of {options.train.architecture} as given; the others by "
            "operations, which is kind to an EfficientNet and to predictions in fp32"
        )
        return report(
            params, options, found, networks, scaled(networks, FINETUNE, images_per_second), told
        )
    speeds, fed = measured(options), feeding(options, paths)
    device, workers = torch.accelerator.current_accelerator(), options.train.workers
    feeders = min(workers or 1, os.cpu_count() or 1)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else str(device or "")
    told = (
        f"measured here on {where or 'this CPU: these are the hours of the CPU, not of any GPU'}; decoding and "
        f"augmentation {fed:,.0f} crops/s a process, {feeders * fed:,.0f} with {feeders}"
    )
    capped = {
        key: replace(one, training=min(one.training, feeders * fed)) for key, one in speeds.items()
    }
    return report(
        params,
        options,
        found,
        networks,
        capped,
        told,
        cropping(load().profile("demo"), profile_paths("demo")),
    )


def builders(options: Profile) -> dict[str, tuple[Any, Callable[[], Detector]]]:
    """Key of each network -> its block of ``params.yaml``, and what builds it with fresh weights."""

    def build(recipe: Any) -> Detector:
        return build_detector(
            recipe.architecture,
            2,
            depth=recipe.depth,
            input_size=recipe.input_size,
            drop_path=recipe.drop_path,
        )

    return {
        FINETUNE: (options.train, partial(build, options.train)),
        SBI: (options.sbi, partial(build, options.sbi)),
        LNCLIP: (options.lnclip, partial(sphere.empty, options.lnclip)),
    }


def counted(options: Profile) -> dict[str, Network]:
    """Operations, parameters and bytes of each network of a profile, for one image."""
    return {
        key: count(build, recipe.architecture, recipe.input_size)
        for key, (recipe, build) in builders(options).items()
    }


def count(build: Callable[[], Detector], architecture: str, size: int, batch: int = 2) -> Network:
    """Count one network on images ``[batch, 3, size, size]``; an operation is a multiplication or an addition.

    What the backward pass keeps is counted once per storage, parameters left out.
    """
    kept: dict[int, tuple[torch.Tensor, int]] = {}
    with torch.device("meta"):
        detector, images = build().train(), torch.empty(batch, 3, size, size)
        own = {parameter.untyped_storage()._cdata for parameter in detector.parameters()}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = (
                    tensor,
                    storage.nbytes(),
                )  # held, so that its address is not used again
            return tensor

        step, forward = FlopCounterMode(display=False), FlopCounterMode(display=False)
        with step, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            detector(images)[1].sum().backward()
        with forward, torch.no_grad():
            detector(images)
    parameters = list(detector.parameters())
    return Network(
        architecture,
        step.get_total_flops() / batch,
        forward.get_total_flops() / batch,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(size for _, size in kept.values()) / batch,
    )


def measured(options: Profile) -> dict[str, Speed]:
    """Speed of each network here: a training step (forward, backward, AdamW) and a prediction, images on the device."""
    sizes = {
        FINETUNE: options.train.batch_size,
        SBI: 2 * options.sbi.pairs,
        LNCLIP: options.lnclip.batch_size,
    }
    speeds = {}
    for key, (recipe, build) in builders(options).items():
        batch = sizes[key] if torch.cuda.is_available() else 4  # seconds, not minutes, of a CPU
        speeds[key] = Speed(
            _images_per_second(build, recipe, batch, learn=True),
            _images_per_second(
                build, replace(recipe, precision=options.predict.precision), batch, False
            ),
        )
    return speeds


def _images_per_second(
    build: Callable[[], Detector], recipe: Any, batch: int, learn: bool
) -> float:
    fabric = this_fabric(recipe.precision)
    detector = build().train(learn)
    optimizer = torch.optim.AdamW(
        [p for p in detector.parameters() if p.requires_grad], lr=1e-6, fused=True
    )
    network, optimizer = fabric.setup(detector, optimizer)
    images = torch.zeros(batch, 3, recipe.input_size, recipe.input_size, device=fabric.device)
    labels = torch.arange(batch, device=fabric.device) % 2

    def step() -> None:
        with torch.set_grad_enabled(learn):
            loss = cross_entropy(network(images)[1], labels)
        if learn:
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        loss.item()  # waits for the device

    return batch * _per_second(step, 20 if torch.cuda.is_available() else 2)


def feeding(options: Profile, paths: Paths, crops: int = 64) -> float:
    """Crops that one process decodes and augments a second; of the profile's store, else of the demo's or of noise."""
    transform = training_transform(options.train.augmentation, options.train.input_size, GREY)
    folder = next((one for one in (paths.crops, profile_paths("demo").crops) if one.is_dir()), None)
    store = CropStore(folder) if folder else None
    noise = encode(
        np.random.default_rng(0).integers(0, 256, (options.crops.size,) * 2 + (3,), np.uint8), "png"
    )

    def some() -> None:
        for item in range(crops):
            with seeded(0, 0, item):
                transform(store.image(item % len(store)) if store else decode(noise))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        return crops * _per_second(some, 1)
    finally:
        torch.set_num_threads(threads)


def cropping(options: Profile, demo: Paths, videos: int = 6) -> float | None:
    """Sampled frames that all cores decode and crop a second, from some of the miniature videos; None without them."""
    detector_file: Path = demo.base / ASSETS / "retinaface_mobilenet025.onnx"
    if not (demo.index.is_file() and demo.roots.is_file() and detector_file.is_file()):
        return None
    index, roots = pd.read_parquet(demo.index), corpus_roots(demo.roots)
    chosen = (
        index[(index["kind"] == "video") & index["dataset"].isin(roots)]
        .head(videos)
        .fillna("")
        .to_dict("records")
    )
    detector, frames = detector_factory(options.crops)(), set()
    begun = time.perf_counter()
    for row in chosen:
        found, _ = extract(row, roots[row["dataset"]], detector, options.crops)
        frames |= {(row["video_id"], crop["frame"]) for crop in found}
    return len(frames) / (time.perf_counter() - begun) * (os.cpu_count() or 1)


def _per_second(call: Callable[[], None], repeats: int) -> float:
    """Calls a second, after one that does not count."""
    call()
    begun = time.perf_counter()
    for _ in range(repeats):
        call()
    return repeats / (time.perf_counter() - begun)
