"""The plan of a profile: count the costs of its networks, measure this machine, estimate the rest.

Operations, parameters and bytes are counted without computing (torch's ``meta`` device), so they
are the same on any machine. Speeds are measured on this machine under its current load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from ...crops.extraction import extract
from ...crops.preprocess import detector_factory
from ...crops.store import CropStore, decode, encode
from ...methods.lnclip import sphere
from ...project.params import Profile, load
from ...project.paths import ASSETS, Paths, corpus_roots, profile_paths
from ...project.vocabulary import FINETUNE, LNCLIP, SBI, method_of
from ...training.detector import Detector, build_detector
from ...training.devices import accelerator, launch_fabric
from ...training.loading import seeded
from ...training.losses import cross_entropy
from ...training.transforms import Normalisation, training_transform
from .costs import (
    Network,
    Speed,
    batch_sizes,
    bytes_per_crop,
    format_plan,
    gather_counts,
    own_key,
    own_options,
    scale_speeds,
)
from .devices import certified_speeds, choose

GREY = Normalisation((0.5,) * 3, (0.5,) * 3)


def plan(profile: str, images_per_second: float | None = None, device: str = "") -> str:
    """Return the plan of ``profile``, on this machine or on a device of given training speed.

    ``device``: one with a certificate, whose figures are taken. Those of this machine are taken
    too, if its certificate has all networks of the profile.

    ``images_per_second``: speed of training steps of ``train.architecture``, for example from the
    provenance of a run on another machine.
    """
    params = load()
    paths = profile_paths(profile)
    options = params.profile(profile)
    demo = profile_paths("demo")
    counts = gather_counts(paths, options)
    own = own_options(params, profile)
    networks = count_networks(options)
    for row, chosen in own.items():
        networks[own_key(row)] = count_networks(chosen, method_of(row))[method_of(row)]
    if not paths.crops.is_dir():
        counts = replace(counts, crop_bytes=bytes_per_crop(demo.crops))
    if images_per_second:
        speeds = scale_speeds(networks, FINETUNE, images_per_second)
        source = (
            f"{images_per_second:g} training images/s of {options.train.architecture} as given; "
            "the others scaled by operations, which is optimistic for EfficientNets and for fp32 "
            "predictions"
        )
        return format_plan(params, options, counts, networks, speeds, source, own=own)
    certificate = choose(paths.base, device, networks)
    if certificate:
        speeds = certified_speeds(certificate, networks)
        source = (
            f"certified on {certificate['device']} with the networks of the profile "
            f"{certificate['profile']}; a network that is not among them is scaled by operations"
        )
    else:
        speeds, source = _measured_here(options, paths, own)
    if device:
        return format_plan(params, options, counts, networks, speeds, source, own=own)
    frames = measure_cropping(params.profile("demo"), demo)
    return format_plan(params, options, counts, networks, speeds, source, frames, own)


def _measured_here(
    options: Profile, paths: Paths, own: Mapping[str, Profile]
) -> tuple[dict[str, Speed], str]:
    """Measure the speeds of all networks, limited by loading, and describe the measurement."""
    speeds = measure_speeds(options)
    for row, chosen in own.items():
        speeds[own_key(row)] = measure_speeds(chosen, method_of(row))[method_of(row)]
    loading = measure_loading(options, paths)
    processes = min(options.train.workers or 1, os.cpu_count() or 1)
    limited = {
        key: replace(speed, training=min(speed.training, processes * loading))
        for key, speed in speeds.items()
    }
    source = (
        f"measured on {_device_name()}; decoding and augmentation {loading:,.0f} crops/s per "
        f"process, {processes * loading:,.0f} with {processes}"
    )
    return limited, source


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = accelerator()
    return "this CPU, so the hours are those of a CPU and not of a GPU" if name == "cpu" else name


def builders(options: Profile) -> dict[str, tuple[Any, Callable[[], Detector]]]:
    """Return method -> its block of ``params.yaml``, and a function that builds its network."""

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
        LNCLIP: (options.lnclip, partial(sphere.build_sphere_detector, options.lnclip)),
    }


def count_networks(options: Profile, *methods: str) -> dict[str, Network]:
    """Count operations, parameters and bytes per image of the networks of ``methods`` or all."""
    return {
        method: count_network(build, recipe.architecture, recipe.input_size)
        for method, (recipe, build) in builders(options).items()
        if not methods or method in methods
    }


def count_network(
    build: Callable[[], Detector], architecture: str, size: int, batch: int = 2
) -> Network:
    """Count the costs of a network on images ``[batch, 3, size, size]``, per image.

    Multiplications and additions count as one operation each. Bytes kept for the backward pass
    count once per storage, without the parameters.
    """
    kept: dict[int, tuple[torch.Tensor, int]] = {}
    with torch.device("meta"):
        detector = build().train()
        images = torch.empty(batch, 3, size, size)
        parameter_storages = {
            parameter.untyped_storage()._cdata for parameter in detector.parameters()
        }

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in parameter_storages:
                # The reference to the tensor prevents reuse of its address.
                kept[storage._cdata] = (tensor, storage.nbytes())
            return tensor

        step = FlopCounterMode(display=False)
        forward = FlopCounterMode(display=False)
        with step, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            detector(images)[1].sum().backward()
        with forward, torch.no_grad():
            detector(images)
    parameters = list(detector.parameters())
    return Network(
        architecture,
        training=step.get_total_flops() / batch,
        predicting=forward.get_total_flops() / batch,
        parameters=sum(parameter.numel() for parameter in parameters),
        trained=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        activations=sum(size for _, size in kept.values()) / batch,
    )


def measure_speeds(options: Profile, *methods: str) -> dict[str, Speed]:
    """Measure training steps (forward, backward, AdamW) and predictions of the networks here.

    The images are on the device already. ``methods``: all by default.
    """
    sizes = batch_sizes(options)
    speeds = {}
    for method, (recipe, build) in builders(options).items():
        if methods and method not in methods:
            continue
        # On a CPU a small batch keeps this to seconds.
        batch = sizes[method] if torch.cuda.is_available() else 4
        prediction = replace(recipe, precision=options.predict.precision)
        speeds[method] = Speed(
            training=bare_rate(build, recipe, batch, learn=True),
            predicting=bare_rate(build, prediction, batch, learn=False),
        )
    return speeds


def bare_rate(build: Callable[[], Detector], recipe: Any, batch: int, learn: bool) -> float:
    """Measure training steps or predictions on images that are on the device already."""
    fabric = launch_fabric(recipe.precision)
    detector = build().train(learn)
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)
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

    return batch * _calls_per_second(step, 20 if torch.cuda.is_available() else 2)


def measure_loading(options: Profile, paths: Paths, crops: int = 64) -> float:
    """Measure how many crops one process decodes and augments per second.

    The crops are from the profile's store, else from the demo's; without both they are noise.
    """
    transform = training_transform(options.train.augmentation, options.train.input_size, GREY)
    stores = [folder for folder in (paths.crops, profile_paths("demo").crops) if folder.is_dir()]
    store = CropStore(stores[0]) if stores else None
    shape = (options.crops.size, options.crops.size, 3)
    noise = encode(np.random.default_rng(0).integers(0, 256, shape, np.uint8), "png")

    def load_crops() -> None:
        for item in range(crops):
            with seeded(0, 0, item):
                transform(store.image(item % len(store)) if store else decode(noise))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        return crops * _calls_per_second(load_crops, 1)
    finally:
        torch.set_num_threads(threads)


def measure_cropping(options: Profile, demo: Paths, videos: int = 6) -> float | None:
    """Measure how many sampled frames all cores together decode and crop per second.

    The frames are from a few miniature videos; without these the result is None.
    """
    detector_file = demo.base / ASSETS / "retinaface_mobilenet025.onnx"
    if not (demo.index.is_file() and demo.roots.is_file() and detector_file.is_file()):
        return None
    index = pd.read_parquet(demo.index)
    roots = corpus_roots(demo.roots)
    usable = index[(index["kind"] == "video") & index["dataset"].isin(list(roots))]
    rows = usable.head(videos).fillna("").to_dict("records")
    detector = detector_factory(options.crops)()
    frames: set[tuple[str, int]] = set()
    start = time.perf_counter()
    for row in rows:
        crops, _ = extract(row, roots[row["dataset"]], detector, options.crops)
        frames |= {(row["video_id"], crop["frame"]) for crop in crops}
    return len(frames) / (time.perf_counter() - start) * (os.cpu_count() or 1)


def _calls_per_second(call: Callable[[], None], repeats: int) -> float:
    """Measure calls per second, after one call to warm up."""
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return repeats / (time.perf_counter() - start)
