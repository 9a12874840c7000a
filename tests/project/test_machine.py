"""Tests of what processors may use: which variables are set, when, and who wins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning_fabric import Fabric

from deepfake_repro.project import machine
from deepfake_repro.project.params import PROFILES, Cpu, load
from deepfake_repro.training import devices

ROOT = Path(__file__).resolve().parents[2]
INTEL = {"vendor_id": "GenuineIntel", "flags": "sse2 avx avx2 avx512f"}
INTEL_WITHOUT_AVX512 = {"vendor_id": "GenuineIntel", "flags": "sse2 avx avx2"}
AMD = {"vendor_id": "AuthenticAMD", "flags": "sse2 avx avx2 avx512f"}
OLD = {"vendor_id": "GenuineIntel", "flags": "sse2 avx"}
ARM = {"Features": "asimd sve"}
ONE_THREAD = dict.fromkeys(machine.THREADS, "1")


def test_a_processor_is_read_from_the_first_block(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: A: B\nflags\t\t: x avx2\n\nprocessor\t: 1\n")
    assert machine.processor(file) == {
        "processor": "0",
        "model name": "A: B",
        "flags": "x avx2",
    }
    assert machine.processor(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("known", "beside_threads"),
    [
        (INTEL, machine.AVX2 | machine.AVX2_OF_INTEL | machine.WITHOUT_AVX512),
        (INTEL_WITHOUT_AVX512, machine.AVX2 | machine.AVX2_OF_INTEL),
        (AMD, machine.AVX2 | machine.WITHOUT_AVX512),
        (OLD, {}),
        (ARM, {}),
        ({}, {}),
    ],
    ids=["intel", "intel without avx512", "amd", "old", "arm", "unknown"],
)
def test_a_processor_gets_only_what_it_has(
    known: dict[str, str], beside_threads: dict[str, str]
) -> None:
    assert machine.pins(Cpu(1, "avx2"), known) == ONE_THREAD | beside_threads
    assert machine.pins(Cpu(1, "native"), known) == ONE_THREAD
    assert machine.pins(Cpu(0, "native"), known) == {}


def test_an_unknown_level_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"cpu\.level must be one of avx2, native, not 'sse'"):
        machine.pins(Cpu(1, "sse"), INTEL)


def test_the_paper_is_free_and_the_small_profiles_are_alike() -> None:
    cpus = {name: load().profile(name).cpu for name in PROFILES}
    assert machine.pins(cpus["paper"], INTEL) == {}
    assert cpus["demo"] == cpus["smoke"]


def test_the_command_line_pins_before_torch_is_imported_and_the_user_wins() -> None:
    script = (
        "import json; from deepfake_repro.cli import main;"
        "main(['card', 'demo', 'none', '0']);"
        "from deepfake_repro.project.provenance import hardware; print(json.dumps(hardware()))"
    )
    free = {name: value for name, value in os.environ.items() if name not in machine.VARIABLES}
    chosen = {"PYTHONPATH": str(ROOT / "src"), "OPENBLAS_CORETYPE": "Nehalem"}
    output = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=free | chosen,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    hardware = json.loads(output.splitlines()[-1])
    expected = machine.pins(load().profile("demo").cpu, machine.processor())
    assert hardware["pins"] == expected | {"OPENBLAS_CORETYPE": "Nehalem"}
    assert hardware["threads"] == int(expected["OMP_NUM_THREADS"])
    if "ATEN_CPU_CAPABILITY" in expected:
        assert hardware["simd"] == "AVX2"
    assert hardware["processor"]


def test_a_notebook_gets_the_pins_of_its_profile() -> None:
    script = (
        "import os; from deepfake_repro.cli import main;"
        "main(['notebook', 'none', 'none.ipynb', 'profile={}']); print(os.environ.get('{}'))"
    )
    free = {name: value for name, value in os.environ.items() if name not in machine.VARIABLES}
    for profile, expected in (("demo", "1"), ("paper", "None")):
        output = subprocess.run(
            [sys.executable, "-c", script.format(profile, "OMP_NUM_THREADS")],
            cwd=ROOT,
            env=free | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert output.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("key", "own", "expected"),
    [("auto", None, "cpu"), ("mps", None, "mps"), ("mps", "cpu", "cpu"), ("auto", "mps", "mps")],
)
def test_apple_gpus_are_used_only_on_request(
    monkeypatch: pytest.MonkeyPatch, key: str, own: str | None, expected: str
) -> None:
    monkeypatch.setattr(os, "environ", {"LT_ACCELERATOR": own} if own else {})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    machine.pin(Cpu(threads=1, level="native"), key)
    assert devices.accelerator() == expected


def test_a_cuda_device_is_used_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LT_ACCELERATOR", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert devices.accelerator() == "cuda"
    assert {load().profile(name).accelerator for name in PROFILES} == {"auto"}


def test_an_unknown_accelerator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"accelerator must be one of .*mps, not 'tpu'"):
        machine.pin(Cpu(threads=1, level="native"), "tpu")


def test_the_variable_decides_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LT_ACCELERATOR", "cpu")
    assert Fabric(accelerator="auto", devices=1).device.type == "cpu"
    monkeypatch.setenv("LT_ACCELERATOR", "mps")
    with pytest.raises(Exception, match="MPS"):
        Fabric(accelerator="auto", devices=1)
