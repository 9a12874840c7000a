"""Certificates of devices, which ``deepfake-repro certify`` writes, and the speeds they state."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...project.machine import processor_name
from ...project.vocabulary import FINETUNE
from .costs import Network, Speed

DEVICES = Path("results/benchmarks/devices")
Certificate = dict[str, Any]


def device_name() -> str:
    """Name this device: the GPU, or the processor with its number of cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{processor_name()}, {os.cpu_count()} cores"


def certificates(base: Path) -> dict[str, Certificate]:
    """Read device -> certificate; ``ValueError`` names a file that is not one."""
    found: dict[str, Certificate] = {}
    for file in sorted((base / DEVICES).glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found[content["device"]] = content
        except (json.JSONDecodeError, TypeError, KeyError):
            raise ValueError(
                f"{DEVICES.as_posix()}/{file.name} is not a certificate: delete it, or write it "
                "again by deepfake-repro certify"
            ) from None
    return found


def certified_speeds(certificate: Certificate, networks: Mapping[str, Network]) -> dict[str, Speed]:
    """Return the speeds of ``networks`` on a certified device.

    A network that was measured there has its own figures; others are scaled by operations from the
    fine-tuned one.
    """
    measured = certificate["methods"]
    reference = measured[FINETUNE]
    operations = reference["crops_per_second"] * reference["gflop"] * 1e9
    found = {}
    for key, network in networks.items():
        own = measured.get(key)
        if own and own["network"] == describe(network):
            found[key] = Speed(own["crops_per_second"], own["predicted_per_second"])
        else:
            found[key] = Speed(operations / network.training, operations / network.predicting)
    return found


def describe(network: Network) -> str:
    """Describe a network by name and size: two of one description compute the same."""
    return f"{network.architecture}, {network.training / 1e9:.2f} GFLOP"


def is_measured(certificate: Certificate, networks: Mapping[str, Network]) -> bool:
    """Return True if every one of ``networks`` was measured on the certified device."""
    measured = {key: own["network"] for key, own in certificate["methods"].items()}
    return all(measured.get(key) == describe(network) for key, network in networks.items())


def choose(base: Path, device: str, networks: Mapping[str, Network]) -> Certificate | None:
    """Return the certificate of ``device``, or of this machine's if all networks are measured.

    None if ``device`` is empty and this machine has no such certificate. Raises ``ValueError`` for
    a device without a certificate.
    """
    known = certificates(base)
    if device and device not in known:
        raise ValueError(
            f"no certificate of {device!r} in {DEVICES.as_posix()}; "
            f"there are: {'; '.join(known) or 'none'}"
        )
    found = known.get(device or device_name())
    return found if found and (device or is_measured(found, networks)) else None
