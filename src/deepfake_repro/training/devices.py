"""One device or many: what is different when a batch is shared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import torch
from lightning_fabric import Fabric

from ..project.progress import track
from .loading import Batch


def this_fabric(precision: str) -> Fabric:
    """One device, or under ``torchrun`` those that it started, on all nodes.

    ``precision``: Fabric's names, or ``tf32``: fp32 with TF32 matrix products. Raises ``ValueError`` for ``16-mixed``:
    its gradient scaler skips steps and has a state of its own, so that a run could not be cut off after any step.
    """
    if precision == "16-mixed":
        raise ValueError(
            "precision is 16-mixed: take bf16-mixed, whose gradients need no scaling, or 32-true"
        )
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator="auto",
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=precision.replace("tf32", "32-true"),
    )
    fabric.launch()
    return fabric


def on_devices(devices: int, *command: object) -> None:
    """Run ``python -m deepfake_repro <command>`` on ``devices`` of this machine at once (-1: all), by ``torchrun``.

    Raises ``ValueError`` if it fails. Several nodes: start the same command by ``torchrun`` on each
    of them.
    """
    count = max(torch.accelerator.device_count(), 1) if devices == -1 else devices
    torchrun = [
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={count}",
        "-m",
        "deepfake_repro",
    ]
    if subprocess.run(
        [sys.executable, "-m", *torchrun, *map(str, command)], check=False
    ).returncode:
        raise ValueError(
            f"{' '.join(map(str, command))} failed on {count} devices, see above; "
            "it goes on from its last checkpoint when started again"
        )


def gathered(part: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """``[B / world, …]`` of this device -> ``[B, …]`` of the whole batch, in its order, with gradient.

    Every device then computes the loss of the whole batch. The gather's backward pass sums over the
    devices what DDP averages afterwards, so that the gradient of the weights is that of one device
    with the whole batch.
    """
    if fabric.world_size == 1:
        return part
    return fabric.all_gather(part, sync_grads=True).transpose(0, 1).flatten(0, 1)


def of_all_devices(mine: list[Any], fabric: Fabric) -> list[Any]:
    """What each device has of its batches, in the order of the whole: device r had batches r, r + world, …"""
    if fabric.world_size == 1:
        return mine
    parts: list[list[Any]] = [[]] * fabric.world_size
    torch.distributed.all_gather_object(parts, mine)
    return [
        parts[number % len(parts)][number // len(parts)] for number in range(sum(map(len, parts)))
    ]


def shown(batches: Iterable[Batch], what: str, total: int, fabric: Fabric) -> Iterable[Batch]:
    """``batches`` with progress, on device 0 only."""
    return track(batches, what, total) if fabric.is_global_zero else batches
