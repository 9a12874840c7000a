"""Certify this device: run everything, write ``results/benchmarks/devices/<device>.json``."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ...project.files import replacing
from ...project.machine import set_variables
from ...project.params import Profile, load
from ...project.vocabulary import FINETUNE
from ..doctor.system import gpus
from ..planning.costs import batch_sizes
from ..planning.devices import DEVICES, Certificate, certificates, describe, device_name
from ..planning.plan import bare_rate, builders, count_networks
from .kernels import matrix_peak, per_core, ways
from .losses import REFERENCE, check_losses, first_losses, store_losses
from .methods import Bench, run_field, run_method
from .workload import amount, write_crops

ROW = "fsfm_ba"
"""The row whose loss has triplets, ours and the field's."""
PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "pytorch-metric-learning")
MARKS = ("<!-- devices: written by `deepfake-repro certify` -->", "<!-- /devices -->")


def store(base: Path, profile: str) -> None:
    """Store the first losses of a profile, computed here."""
    params = load(base / "params.yaml")
    store_losses(base / REFERENCE, profile, params.profile(profile).train, params.variant(ROW))


def certify(base: Path, profile: str) -> Certificate:
    """Measure this device with the networks of ``profile``, write the certificate, return it.

    Figures of an earlier certificate of this device for the same profile are replaced.
    """
    params = load(base / "params.yaml")
    options = params.profile(profile)
    on_gpu = torch.cuda.is_available()
    print("certify: loss of the first steps", flush=True)
    losses = first_losses(options.train, params.variant(ROW))
    checked = check_losses(losses, base / REFERENCE, profile, options.train.precision)
    precision, peak = matrix_peak()
    with TemporaryDirectory() as folder:
        chosen = amount(options.crops.size, on_gpu)
        store = write_crops(Path(folder), chosen)
        bench = Bench(store, chosen, options, params.variant(ROW))
        certificate = {
            "device": device_name(),
            **_environment(),
            "profile": profile,
            "matrix_peak": {"precision": precision, "tflops": round(peak / 1e12, 3)},
            "methods": _methods(bench, peak),
            "field": _field(bench, Path(folder)),
            "crops_per_second_per_core": per_core(store, options.train.input_size),
            "times_faster": ways(options, _bare_batches(options)),
            "losses": checked,
        }
    ours = certificate["methods"][FINETUNE]["crops_per_second"]
    certificate["field"]["ours_times_faster"] = round(
        ours / certificate["field"]["crops_per_second"], 2
    )
    write(base, certificate)
    return certificate


def summary(certificate: Certificate) -> str:
    """Format a certificate for the terminal: its line of the table, and all figures."""
    figures = json.dumps(certificate, indent=1, ensure_ascii=False)
    return f"{figures}\n\n{table([certificate])}"


def write(base: Path, certificate: Certificate) -> Path:
    """Write the certificate, and the table of all devices into ``results/benchmarks/README.md``."""
    name = re.sub(r"[^a-z0-9]+", "-", certificate["device"].lower()).strip("-")
    file = base / DEVICES / f"{name}.json"
    text = json.dumps(certificate, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    page = base / DEVICES.parent / "README.md"
    before = page.read_text(encoding="utf-8")
    with replacing(page) as temporary:
        temporary.write_text(with_table(before, certificates(base).values()), encoding="utf-8")
    return file


def with_table(page: str, found: Iterable[Certificate]) -> str:
    """Return the page with the table of devices between its marks."""
    start, end = MARKS
    if start not in page or end not in page:
        raise ValueError(f"the page has no marks {start} and {end}")
    head, _, rest = page.partition(start)
    return f"{head}{start}\n\n{table(found)}\n{end}{rest.partition(end)[2]}"


STORED = {True: "as stored", False: "DIFFER", None: "none stored"}
HEAD = (
    "device",
    "networks",
    "fine-tuning, crops/s",
    "SBI",
    "LNCLIP-DF",
    "share of matrix peak",
    "waiting",
    "times the field",
    "first losses",
)


def table(found: Iterable[Certificate]) -> str:
    """Make the Markdown table of certified devices."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * 2}{'---:|' * (len(HEAD) - 2)}"]
    for each in found:
        methods = each["methods"]
        tuned = methods[FINETUNE]
        cells = [
            each["device"],
            each["profile"],
            *(f"{methods[key]['crops_per_second']:,.0f}" for key in (FINETUNE, "sbi", "lnclip")),
            f"{tuned['share_of_matrix_peak']:.0%}",
            f"{tuned['waiting_share']:.0%}",
            f"{each['field']['ours_times_faster']:.2f}",
            STORED[each["losses"]["passed"]],
        ]
        # A name comes from a driver or from another machine's file.
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _environment() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "pins": set_variables(),
        "driver": gpus(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def _methods(bench: Bench, peak: float) -> dict[str, dict[str, Any]]:
    networks = count_networks(bench.options)
    batches = _bare_batches(bench.options)
    found: dict[str, dict[str, Any]] = {}
    for method, (recipe, build) in builders(bench.options).items():
        print(f"certify: {method}", flush=True)
        pace = run_method(bench, method, build)
        prediction = replace(recipe, precision=bench.options.predict.precision)
        network = networks[method]
        found[method] = {
            **asdict(pace),
            "network": describe(network),
            "gflop": round(network.training / 1e9, 3),
            "batch": batch_sizes(bench.options)[method],
            "precision": recipe.precision,
            "share_of_matrix_peak": round(pace.crops_per_second * network.training / peak, 3),
            "predicted_per_second": round(
                bare_rate(build, prediction, batches[method], learn=False), 1
            ),
        }
    return found


def _field(bench: Bench, folder: Path) -> dict[str, Any]:
    print("certify: the field's loop", flush=True)
    _, build = builders(bench.options)[FINETUNE]
    return asdict(run_field(bench, build, folder))


def _bare_batches(options: Profile) -> dict[str, int]:
    """Return method -> images per bare step: the recipe's on a GPU, few on a CPU."""
    sizes = batch_sizes(options)
    return sizes if torch.cuda.is_available() else dict.fromkeys(sizes, 8)
