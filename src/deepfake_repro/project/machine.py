"""Make processors compute alike: threads and instruction set of the numerical libraries.

PyTorch, oneDNN, MKL, OpenBLAS, NumPy and OpenCV choose their code by the processor, and each choice
rounds differently. They read their choice from the environment once, when they are first imported.
So the command line calls ``pin`` before it imports them, and notebook kernels inherit the result.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from .params import Cpu

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
AVX2_OF_INTEL = {"MKL_CBWR": "AVX2"}
"""On processors of other makers MKL takes it for AUTO, which is other code than without it."""
WITHOUT_AVX512 = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENCV_CPU_DISABLE": "AVX512-SKX",
}
"""Set only where there is AVX-512: the libraries complain about features that are not there."""
VARIABLES = (*THREADS, *AVX2, *AVX2_OF_INTEL, *WITHOUT_AVX512)
"""All variables that ``pin`` may set, and that a user may set instead."""
LEVELS = ("avx2", "native")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")
"""``auto``: CUDA where there is a device, else the CPU."""
CPUINFO = Path("/proc/cpuinfo")


def processor(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """Return what Linux says about the first processor; empty on other systems."""
    if not cpuinfo.is_file():
        return {}
    first = cpuinfo.read_text(encoding="utf-8").split("\n\n")[0]
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def processor_name() -> str:
    """Return the model of the processor, such as ``AMD EPYC 7763``."""
    return processor().get("model name") or platform.processor() or platform.machine()


def pins(cpu: Cpu, known: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make a processor compute as ``cpu`` asks.

    ``known``: what ``processor`` returned. A processor without AVX2 gets the threads only, because
    it would crash in AVX2 code; so does one that is not x86-64. Raises ``ValueError`` for an
    unknown level.
    """
    if cpu.level not in LEVELS:
        raise ValueError(
            f"params.yaml: cpu.level must be one of {', '.join(LEVELS)}, not {cpu.level!r}"
        )
    variables = dict.fromkeys(THREADS, str(cpu.threads)) if cpu.threads else {}
    features = known.get("flags", "").split()
    if cpu.level == "native" or "avx2" not in features:
        return variables
    variables |= AVX2
    if known.get("vendor_id") == "GenuineIntel":
        variables |= AVX2_OF_INTEL
    if "avx512f" in features:
        variables |= WITHOUT_AVX512
    return variables


def pin(cpu: Cpu, accelerator: str = "auto") -> None:
    """Set the variables of ``pins`` for this process and its children; the user's own win.

    ``accelerator``: one of ``ACCELERATORS``, which ``training.devices`` reads. Raises
    ``ValueError`` for another one.
    """
    if accelerator not in ACCELERATORS:
        raise ValueError(
            f"params.yaml: accelerator must be one of {', '.join(ACCELERATORS)}, "
            f"not {accelerator!r}"
        )
    for name, value in pins(cpu, processor()).items():
        os.environ.setdefault(name, value)
    if accelerator != "auto":
        os.environ.setdefault("LT_ACCELERATOR", accelerator)


def set_variables() -> dict[str, str]:
    """Return which of the variables are set, by ``pin`` or by the user."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}
