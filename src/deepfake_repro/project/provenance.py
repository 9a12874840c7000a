"""Provenance of a training run: code, data, parameters, hardware, versions, time and energy.

Only training stages write it, beside the weights; ``score`` copies it. No other tracked file may
contain times, so that everything after training is a pure function of its inputs.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .machine import processor_name, set_variables

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SOURCES = ("src", "notebooks", "dvc.yaml", "params.yaml", "requirements.lock")
"""Files that results depend on; changes of other tracked files do not make a checkout dirty."""
NO_HISTORY = "none: no git history"
"""Recorded as the commit of an unpacked archive; its ``dirty`` is None, which means unknown."""
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
    """Return the joules that this process's first GPU has used since its driver was loaded.

    They include other processes. NVML, the driver's library, counts them; None without the library,
    a device or the counter.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    index = int(visible) if visible.isdecimal() else 0
    handle = ctypes.c_void_p()
    millijoules = ctypes.c_ulonglong()
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        failed = (
            nvml.nvmlInit_v2()
            or nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
            or nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
        )
    except (OSError, AttributeError):  # no driver, or one older than the counter
        return None
    return None if failed else millijoules.value / 1000


_ENERGY_AT_IMPORT = gpu_energy()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, or of the sorted names and sha256 of the files in a folder."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        lines = [f"{file.relative_to(path).as_posix()} {file_digest(file)}" for file in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def package_digest() -> str:
    """Return a sha256 over the source files of the package."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256("".join(map(file_digest, sources)).encode()).hexdigest()


def fingerprint(*parts: Any) -> str:
    """Return a short hash of parameters, code and data, to name the scratch folder of a run."""
    content = [_plain(part) if is_dataclass(part) else str(part) for part in parts]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return a dataclass instance as a dict, and anything else unchanged."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def collect(root: Path, *, params: Any, seed: int, data: Iterable[Path], started: datetime) -> dict:
    """Return the provenance of a run that began at ``started`` (UTC).

    Sizes are in MiB, times in seconds. ``energy_joules`` counts from the import of this module; it
    is None where the device has no counter.
    """
    energy = gpu_energy()
    finished = datetime.now(UTC)
    commit = _git(root, "rev-parse", "HEAD") if has_history(root) else ""
    content = _plain(params)
    return {
        "commit": commit or NO_HISTORY,
        "dirty": bool(_git(root, "status", "--porcelain", "--", *SOURCES)) if commit else None,
        "code": package_digest(),
        "params": content,
        "params_digest": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        "data": {path.relative_to(root).as_posix(): file_digest(path) for path in data},
        "environment_lock": file_digest(root / "requirements.lock"),
        "seed": seed,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((finished - started).total_seconds(), 1),
        "peak_memory_mib": peak_memory(),
        "energy_joules": _difference(_ENERGY_AT_IMPORT, energy),
        "hardware": hardware(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }


def peak_memory() -> int | None:
    """Return the peak memory of this process in MiB; None where the system does not count it."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, else KiB


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(after - before, 1)


def hardware() -> dict[str, Any]:
    """Return processor, threads and accelerator of this machine, without its host name.

    ``simd``: instruction set of PyTorch's own kernels; ``pins``: the variables set of
    ``machine.VARIABLES``, which limit what the other libraries use.
    """
    import torch  # takes seconds: not imported by stages that only hash files

    has_gpu = torch.cuda.is_available()
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": processor_name(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "pins": set_variables(),
        "gpu": torch.cuda.get_device_name() if has_gpu else None,
        "gpu_peak_memory_mib": torch.cuda.max_memory_allocated() // 2**20 if has_gpu else None,
    }


def has_history(root: Path) -> bool:
    """Return False for an unpacked archive, even inside another git repository."""
    return (root / ".git").exists() and shutil.which("git") is not None


def committed_text(file: Path) -> str:
    """Return the content of ``file`` in the last commit, empty if it is not in one."""
    folder = file.resolve().parent
    return _git(folder, "show", f"HEAD:./{file.name}") if shutil.which("git") else ""


def _git(root: Path, *arguments: str) -> str:
    """Return the output of a git command, empty if it fails (no commit yet)."""
    result = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return result.stdout.strip()
