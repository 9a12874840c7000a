"""Checks of the machine that need neither PyTorch nor a network."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from ...project.code.closure import canonical_name, read_lock
from ...project.machine import pins, processor, processor_name
from ...project.params import Params
from .finding import ERROR, OK, WARNING, Finding

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

MINIATURE_GB = 2.0
"""What ``make repro`` writes for the demo: outputs, 0.64 GB, and their copies in DVC's cache."""
INODES = 100_000
"""Files of the demo with its cache, many times over."""
OPEN_FILES = 1024
"""A crop store keeps up to 500 parts open, and each loader process a few files."""
SOCKET_PATH = 104 if sys.platform == "darwin" else 108
"""Bytes in the path of a Unix socket, with its last zero."""
SOCKET_NAME = len("/pymp-00000000/listener-00000000")
"""What multiprocessing puts behind the temporary folder."""
TEMPORARY_GB = 1.0
QUOTA = Path("/sys/fs/cgroup/cpu.max")
SHARED_MEMORY = Path("/dev/shm")


def check_python(base: Path) -> Finding:
    """Compare this Python with ``requires-python``."""
    required = _project(base)["requires-python"]
    lowest, highest = re.findall(r"3\.(\d+)", required)
    version = ".".join(map(str, sys.version_info[:3]))
    if int(lowest) <= sys.version_info.minor < int(highest):
        return Finding(OK, "python", version)
    return Finding(
        ERROR, "python", f"{version}, needed is {required}", "make environment PYTHON=python3.11"
    )


def check_packages(base: Path) -> Iterator[Finding]:
    """Compare the installed packages with ``requirements.lock``.

    A missing package that the package itself imports is an error, other deviations are warnings.
    """
    lock = read_lock(base / "requirements.lock")
    installed = installed_versions()
    direct = {canonical_name(name) for name in _project(base)["dependencies"]}
    missing = [name for name in lock if name not in installed and name in direct]
    other = [
        f"{name} {installed[name]} (pinned {version})"
        for name, version in lock.items()
        if name in installed and installed[name].partition("+")[0] != version
    ]
    cure = "make environment"
    if missing:
        yield Finding(ERROR, "packages", f"not installed: {_first(missing)}", cure)
    if other:
        yield Finding(WARNING, "packages", f"not as in requirements.lock: {_first(other)}", cure)
    if not missing and not other:
        count = sum(name in installed for name in lock)
        yield Finding(OK, "packages", f"{count} as in requirements.lock")


def installed_versions() -> dict[str, str]:
    """Return normalised name -> version of all installed packages; the first in the path counts."""
    found: dict[str, str] = {}
    for each in metadata.distributions():
        found.setdefault(canonical_name(each.metadata["Name"]), each.version)
    return found


def check_processor(params: Params) -> Iterator[Finding]:
    """Check instructions and threads against the ``cpu`` block of each profile of the run."""
    features = processor().get("flags", "").split()
    newest = next((name for name in ("avx512f", "avx2", "avx") if name in features), "no AVX")
    cores = os.cpu_count() or 1
    text = f"{processor_name()}, {cores} cores, {newest}"
    usable = usable_cores()
    pinned = any(params.profile(name).cpu.level == "avx2" for name in params.run.profiles)
    if pinned and features and "avx2" not in features:
        cure = "expect other numbers (REPRODUCIBILITY.md); deepfake-repro verify compares them"
        yield Finding(WARNING, "processor", f"{text}: results were made with AVX2", cure)
    elif usable < cores:
        cure = f"JOBS={max(int(usable), 1)} make repro, and as many workers in params.yaml"
        yield Finding(WARNING, "processor", f"{text}, of which {usable:g} may be used", cure)
    else:
        yield Finding(OK, "processor", text)
    yield from _check_pins(params, os.environ)


def usable_cores(quota: Path = QUOTA) -> float:
    """Return how many cores this process may use by affinity and by the control group's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = float(len(os.sched_getaffinity(0)))
    else:
        cores = float(os.cpu_count() or 1)
    if quota.is_file():
        limit, _, period = quota.read_text(encoding="utf-8").partition(" ")
        if limit.isdecimal():
            return min(cores, int(limit) / int(period))
    return cores


def _check_pins(params: Params, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Warn about variables of the user's own that replace those that a profile pins."""
    for name in params.run.profiles:
        wanted = pins(params.profile(name).cpu, processor())
        own = [
            f"{key}={environment[key]} (pinned {value})"
            for key, value in wanted.items()
            if environment.get(key, value) != value
        ]
        if own:
            text = f"set in your environment, against {name}.cpu: {_first(own)}"
            yield Finding(WARNING, "threads", text, "unset them for the committed numbers")
        elif wanted:
            yield Finding(
                OK, "threads", f"{name}: {wanted.get('OMP_NUM_THREADS', 'all')} a process"
            )


def check_gpu(params: Params) -> Iterator[Finding]:
    """Ask the driver for GPUs; the paper profile without one would take weeks."""
    devices = gpus()
    if devices:
        yield from (Finding(OK, "GPU", text) for text in devices)
    elif "paper" in params.run.profiles:
        cure = "a machine with a GPU; deepfake-repro plan --profile paper says how long a CPU takes"
        yield Finding(WARNING, "GPU", "none with a driver, for the profile paper", cure)
    else:
        yield Finding(OK, "GPU", "none with a driver; the demo needs none")


def gpus() -> list[str]:
    """Describe the GPUs that NVIDIA's driver sees; empty without a driver."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    if nvml.nvmlInit_v2():
        return []
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    driver = ctypes.create_string_buffer(80)
    nvml.nvmlSystemGetDriverVersion(driver, len(driver))
    found = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        name = ctypes.create_string_buffer(96)
        nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
        nvml.nvmlDeviceGetName(handle, name, len(name))
        found.append(f"{name.value.decode()}, driver {driver.value.decode()}")
    return found


def check_disk(base: Path, params: Params) -> Iterator[Finding]:
    """Check free space and inodes of the checkout's disk, and that it can be written to."""
    if not os.access(base, os.W_OK):
        yield Finding(ERROR, "disk", "the checkout is read-only", "clone it where you may write")
        return
    free = shutil.disk_usage(base).free / 1e9
    needed = MINIATURE_GB if params.run.miniatures else 0.0
    if free < needed:
        cure = "free space, or clone to another disk"
        yield Finding(ERROR, "disk", f"{free:.1f} GB free, the demo needs {needed:g}", cure)
    else:
        yield Finding(OK, "disk", f"{free:.1f} GB free")
    status = os.statvfs(base)
    if status.f_files and status.f_favail < INODES:  # some file systems have no fixed number
        cure = "delete many small files, or clone to another disk"
        yield Finding(WARNING, "inodes", f"{status.f_favail:,} free", cure)


def check_open_files() -> Finding:
    """Check how many files a process may open."""
    if resource is None:
        return Finding(OK, "open files", "no such limit on this system")
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= OPEN_FILES:
        return Finding(OK, "open files", f"up to {limit} a process")
    allowed = highest == resource.RLIM_INFINITY or highest >= OPEN_FILES
    cure = (
        f"ulimit -n {4 * OPEN_FILES}"
        if allowed
        else f"let the administrator, or docker run --ulimit nofile={4 * OPEN_FILES}, raise it"
    )
    text = f"only {limit} a process, a crop store may need {OPEN_FILES}"
    return Finding(ERROR if limit < OPEN_FILES // 4 else WARNING, "open files", text, cure)


def check_shared_memory(params: Params, folder: Path = SHARED_MEMORY) -> Finding:
    """Compare the room in ``/dev/shm`` with the batches that loader processes keep there."""
    needed = max(prefetched_bytes(params, name) for name in params.run.profiles) / 1e9
    if not folder.is_dir():
        return Finding(OK, "shared memory", f"this system has no {folder}")
    free = shutil.disk_usage(folder).free / 1e9
    text = f"{free:.1f} GB free in {folder}, loaders need {needed:.1f}"
    if free >= needed:
        return Finding(OK, "shared memory", text)
    cure = f"docker run --shm-size={2 * needed:.0f}g, or fewer workers in params.yaml"
    return Finding(ERROR, "shared memory", text, cure)


def prefetched_bytes(params: Params, profile: str) -> int:
    """Bytes of the batches that a training's loader keeps ready: 4 per process, fp32 RGB."""
    options = params.profile(profile)
    sizes = [
        (options.train.workers, options.train.batch_size, options.train.input_size),
        (options.lnclip.workers, options.lnclip.batch_size, options.lnclip.input_size),
    ]
    return max(4 * workers * batch * 3 * side**2 * 4 for workers, batch, side in sizes)


def check_temporary_folder() -> Iterator[Finding]:
    """Check that the temporary folder has room and a path short enough for sockets."""
    folder = Path(tempfile.gettempdir())
    wanted = os.environ.get("TMPDIR")
    if wanted and Path(wanted) != folder:
        text = f"{wanted} cannot be written to, so {folder} is used"
        yield Finding(WARNING, "TMPDIR", text, "create it, or unset TMPDIR")
    free = shutil.disk_usage(folder).free / 1e9
    room = SOCKET_PATH - 1 - SOCKET_NAME
    if len(os.fsencode(folder)) > room:
        text = f"{len(os.fsencode(folder))} characters; sockets in it allow {room}"
        yield Finding(ERROR, "TMPDIR", text, "export TMPDIR=/tmp")
    elif free < TEMPORARY_GB:
        text = f"{free:.1f} GB free in {folder}, {TEMPORARY_GB:g} may be needed"
        yield Finding(WARNING, "TMPDIR", text, "set TMPDIR to a folder with room")
    else:
        yield Finding(OK, "TMPDIR", f"{folder}, {free:.1f} GB free")


def _project(base: Path) -> dict:
    return tomllib.loads((base / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _first(items: list[str], count: int = 3) -> str:
    rest = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + rest
