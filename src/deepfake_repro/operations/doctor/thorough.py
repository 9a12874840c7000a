"""Checks that take more than a moment: PyTorch, the plan's disk, corpora, weights, DVC's stages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from ...corpora import broken, index_corpora
from ...dataset.counts import OFFICIAL, with_sums
from ...dataset.index import adapter_options
from ...project.params import Params
from ...project.paths import Paths, corpus_roots
from ...project.provenance import file_digest
from ..parallel import dvc
from ..planning.costs import estimate_disk, gather_counts
from ..planning.plan import count_networks
from ..planning.rehearsal import is_cached
from .checkout import official_profiles, start_sources
from .finding import ERROR, OK, WARNING, Finding
from .system import gpus


def check(base: Path, params: Params) -> Iterator[Finding]:
    """Run all of them."""
    yield check_torch(gpus())
    for name in official_profiles(params):
        paths = Paths(name, base)
        if paths.roots.is_file():
            yield from check_corpora(params, paths)
        yield from check_weights(base, params, name)
        yield check_planned_disk(params, paths)
    yield check_stages(base)


def check_torch(devices: list[str]) -> Finding:
    """Check that PyTorch sees the GPUs that the driver sees."""
    capability = torch.backends.cpu.get_cpu_capability()
    if not devices:
        return Finding(OK, "PyTorch", f"{torch.__version__}, {capability} on the CPU")
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding(OK, "PyTorch", f"{torch.__version__}, GPU with {memory:.0f} GiB")
    text = f"{torch.__version__} for CUDA {torch.version.cuda} cannot use the GPU"
    return Finding(ERROR, "PyTorch", text, "update the driver (nvidia-smi shows its CUDA version)")


def check_corpora(params: Params, paths: Paths) -> Iterator[Finding]:
    """Index each corpus, as the stage does, and count its videos beside the official release's."""
    try:
        roots = corpus_roots(paths.roots)
    except ValueError:
        return  # reported by the fast part
    index, report = index_corpora(roots, adapter_options(params.profile(paths.profile).index))
    for line in broken(report):
        yield Finding(ERROR, "corpora", line, "see data/README.md")
    for corpus, videos in index.groupby("dataset"):
        official = with_sums(OFFICIAL.get(str(corpus), {})).get(("all", "all"))
        text = f"{corpus}: {len(videos):,} videos"
        if official is None:
            yield Finding(OK, "corpora", f"{text}; no official count is known")
        elif official == len(videos):
            yield Finding(OK, "corpora", f"{text}, all of the official release")
        else:
            cure = "complete the download, or expect other counts in Tables 1 and 2"
            yield Finding(
                WARNING, "corpora", f"{text}, the official release has {official:,}", cure
            )


def check_weights(base: Path, params: Params, profile: str) -> Iterator[Finding]:
    """Compare the sha256 of start weights with the recorded ones; look up timm's in its cache."""
    recorded = read_digests(base / "data" / "pretrained.sha256")
    for source in sorted(start_sources(params, profile)):
        if source.startswith("timm:"):
            if is_cached(source.removeprefix("timm:")):
                yield Finding(OK, "weights", f"{source} is in the hub's cache")
            else:
                cure = "run once with a network: the stage fetches them (docs/weights.md)"
                yield Finding(WARNING, "weights", f"{source} is not in the hub's cache", cure)
            continue
        file = base / source
        if not file.is_file():
            continue  # reported by the fast part
        digest = file_digest(file)
        if recorded.get(file.name, digest) != digest:
            text = f"{source} has sha256 {digest[:12]}…, recorded is {recorded[file.name][:12]}…"
            yield Finding(ERROR, "weights", text, "delete it and run deepfake-repro weights")
        else:
            known = "as recorded" if file.name in recorded else "not recorded"
            yield Finding(OK, "weights", f"{source}: sha256 {digest[:12]}…, {known}")


def read_digests(record: Path) -> dict[str, str]:
    """Read file name -> sha256 from a record in the format of ``sha256sum``."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def check_planned_disk(params: Params, paths: Paths) -> Finding:
    """Compare free space with what the plan adds up for the profile."""
    options = params.profile(paths.profile)
    table = estimate_disk(params, gather_counts(paths, options), count_networks(options))
    needed = float(table["GB"].sum())
    free = shutil.disk_usage(paths.base).free / 1e9
    text = f"{paths.profile}: {free:,.0f} GB free, the plan needs {needed:,.0f}"
    if free >= needed:
        return Finding(OK, "disk", text)
    cure = f"deepfake-repro plan --profile {paths.profile} lists what for; use a larger disk"
    return Finding(ERROR, "disk", text, cure)


def check_stages(base: Path) -> Finding:
    """Ask DVC which stages would run."""
    result = dvc(base, "status", "--json")
    if result.returncode:
        message = result.stderr.strip().splitlines() or ["no message"]
        return Finding(ERROR, "DVC", f"cannot read the pipeline: {message[-1]}", "correct dvc.yaml")
    stages = json.loads(result.stdout)
    return Finding(OK, "DVC", f"{len(stages)} stages would run or lack an output")
