"""Who, what, where of a run: commit, hashes, seed, hardware, versions, seconds, peak memory, energy.

Written by ``train`` only, into its cached folder; ``score`` copies it. It is the one tracked file
that may hold times, so that everything after ``train`` is a pure function of its inputs.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

SOURCES = ("src", "notebooks", "dvc.yaml", "params.yaml", "requirements.lock")
"""What decides a result; generated files that lie in git do not make a checkout dirty."""
NO_HISTORY = "none: no git history"
"""In place of the commit, in an unpacked archive; whether files were changed in it is then unknown (None)."""
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "pyarrow",
    "onnxruntime",
    "av",
    "papermill",
    "dvc",
)


def gpu_energy() -> float | None:
    """Joules that this process's first GPU has used since its driver was loaded, for whatever process.

    Asked of NVML, the driver's own library; None where there is no such library, device or counter.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        failed = (
            nvml.nvmlInit_v2()
            or nvml.nvmlDeviceGetHandleByIndex_v2(
                int(visible) if visible.isdecimal() else 0, ctypes.byref(handle)
            )
            or nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
        )
    except (OSError, AttributeError):  # no driver, or one older than the counter
        return None
    return None if failed else millijoules.value / 1000


_ENERGY_AT_IMPORT = gpu_energy()


def file_digest(path: Path) -> str:
    """sha256 of a file; of a folder, sha256 over the sorted (name, sha256) pairs of its files."""
    if path.is_dir():
        parts = (
            f"{p.relative_to(path).as_posix()} {file_digest(p)}"
            for p in sorted(path.rglob("*"))
            if p.is_file()
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_digest() -> str:
    """sha256 over the package's own source files."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256("".join(map(file_digest, sources)).encode()).hexdigest()


def fingerprint(*parts: Any) -> str:
    """Short hash of parameters, code and data: the name of a run's scratch folder."""
    plain = [asdict(part) if is_dataclass(part) else str(part) for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def collect(root: Path, *, params: Any, seed: int, data: Iterable[Path], started: datetime) -> dict:
    """Provenance of a run that began at ``started`` (UTC); sizes in MiB, times in seconds, energy in joules.

    ``energy_joules`` counts from this process's import of the module and is None where the device
    does not say.
    """
    energy = gpu_energy()
    finished = datetime.now(UTC)
    commit = _git(root, "rev-parse", "HEAD") if has_history(root) else ""
    return {
        "commit": commit or NO_HISTORY,
        "dirty": bool(_git(root, "status", "--porcelain", "--", *SOURCES)) if commit else None,
        "code": package_digest(),
        "params": (plain := asdict(params) if is_dataclass(params) else params),
        "params_digest": hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest(),
        "data": {path.relative_to(root).as_posix(): file_digest(path) for path in data},
        "environment_lock": file_digest(root / "requirements.lock"),
        "seed": seed,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((finished - started).total_seconds(), 1),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "energy_joules": None
        if None in (energy, _ENERGY_AT_IMPORT)
        else round(energy - _ENERGY_AT_IMPORT, 1),
        "hardware": hardware(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }


def hardware() -> dict[str, Any]:
    """Processor, cores and accelerator of this machine; no host name."""
    import torch  # seconds to import: stages that only hash files must not pay for it

    there = torch.cuda.is_available()
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if there else None,
        "gpu_peak_memory_mib": torch.cuda.max_memory_allocated() // 2**20 if there else None,
    }


def has_history(root: Path) -> bool:
    """False in an unpacked archive, also where it lies inside another repository, whose commits are not of this code."""
    return (root / ".git").exists() and shutil.which("git") is not None


def _git(root: Path, *arguments: str) -> str:
    """Output of a git command; empty if it fails (a repository without a commit)."""
    result = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return result.stdout.strip()
