"""One device or many: what differs when several devices share a batch."""

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


def accelerator() -> str:
    """Name what to compute on: CUDA where there is a device, else the CPU.

    Apple's GPU is never chosen, because no result was ever compared on it. ``LT_ACCELERATOR``, set
    by the user or by ``machine.pin`` from the profile, decides otherwise.
    """
    default = "cuda" if torch.cuda.is_available() else "cpu"
    return os.environ.get("LT_ACCELERATOR", default)


def launch_fabric(precision: str) -> Fabric:
    """Launch Fabric on one device, or under ``torchrun`` on all devices of all nodes it started.

    ``precision``: one of Fabric's names, or ``tf32``: fp32 with TF32 matrix products. Raises
    ``ValueError`` for ``16-mixed``: its gradient scaler skips steps and has a state of its own, so
    a run could not be resumed after any step.
    """
    if precision == "16-mixed":
        raise ValueError(
            "precision is 16-mixed: use bf16-mixed, whose gradients need no scaling, or 32-true"
        )
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    devices_per_node = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    fabric = Fabric(
        accelerator=accelerator(),
        devices=devices_per_node,
        num_nodes=world_size // devices_per_node,
        strategy="ddp" if world_size > 1 else "auto",
        precision=precision.replace("tf32", "32-true"),  # type: ignore[arg-type]  # Literal names
    )
    fabric.launch()
    return fabric


def run_on_devices(devices: int, *command: object) -> None:
    """Run ``python -m deepfake_repro <command>`` by ``torchrun`` on ``devices`` of this machine.

    -1 stands for all devices. For several nodes, start the same command by ``torchrun`` on each of
    them. Raises ``ValueError`` if the command fails.
    """
    count = max(torch.accelerator.device_count(), 1) if devices == -1 else devices
    arguments = [str(part) for part in command]
    torchrun = [
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={count}",
        "-m",
        "deepfake_repro",
    ]
    result = subprocess.run([sys.executable, "-m", *torchrun, *arguments], check=False)
    if result.returncode:
        raise ValueError(
            f"{' '.join(arguments)} failed on {count} devices, see above; "
            "rerun to resume from the last checkpoint"
        )


def gather_across_devices(part: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Gather ``[B / world, …]`` of each device into the batch ``[B, …]``, in order, with gradient.

    Every device then computes the loss of the whole batch. The gather's backward pass sums over the
    devices what DDP averages afterwards, so the gradient of the weights is that of one device with
    the whole batch.
    """
    if fabric.world_size == 1:
        return part
    parts = fabric.all_gather(part, sync_grads=True)
    assert isinstance(parts, torch.Tensor)
    return parts.transpose(0, 1).flatten(0, 1)


def gather_batches(results: list[Any], fabric: Fabric) -> list[Any]:
    """Gather one result per batch from all devices, in the order of the batches.

    Device r has the results of batches r, r + world, r + 2 world and so on.
    """
    if fabric.world_size == 1:
        return results
    parts: list[list[Any]] = [[]] * fabric.world_size
    torch.distributed.all_gather_object(parts, results)
    total = sum(map(len, parts))
    return [parts[number % len(parts)][number // len(parts)] for number in range(total)]


def with_progress(
    batches: Iterable[Batch], caption: str, total: int, fabric: Fabric
) -> Iterable[Batch]:
    """Show progress over ``batches``, on device 0 only."""
    return track(batches, caption, total) if fabric.is_global_zero else batches
