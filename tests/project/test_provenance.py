"""Tests of digests and of the provenance record, which names no person and no machine."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepfake_repro.project import provenance

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Recipe:
    epochs: int = 3
    rate: float = 1e-4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "b.txt").write_bytes(b"second")
    (tmp_path / "tree" / "inner" / "a.txt").write_bytes(b"first")
    return tmp_path / "tree"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_digest_of_a_file_is_its_sha256(folder: Path) -> None:
    assert provenance.file_digest(folder / "b.txt") == sha256(b"second")


def test_digest_of_a_folder_by_hand(folder: Path) -> None:
    expected = sha256(f"b.txt {sha256(b'second')}\ninner/a.txt {sha256(b'first')}".encode())
    assert provenance.file_digest(folder) == expected


def test_digest_of_a_folder_ignores_times_and_place(folder: Path) -> None:
    before = provenance.file_digest(folder)
    os.utime(folder / "b.txt", (1, 1))
    os.utime(folder, (1, 1))
    assert provenance.file_digest(folder.rename(folder.with_name("moved"))) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "b.txt").write_bytes(b"Second"),
        lambda tree: (tree / "b.txt").rename(tree / "c.txt"),
        lambda tree: (tree / "b.txt").rename(tree / "inner" / "b.txt"),
        lambda tree: (tree / "new.txt").touch(),
        lambda tree: (tree / "inner" / "a.txt").unlink(),
    ],
    ids=["content", "name", "place", "more", "less"],
)
def test_digest_of_a_folder_changes_with(folder: Path, change: object) -> None:
    before = provenance.file_digest(folder)
    change(folder)
    assert provenance.file_digest(folder) != before


def test_fingerprint_is_the_same_for_equal_parts_and_short() -> None:
    first = provenance.fingerprint(Recipe(), 0, "digest")
    assert first == provenance.fingerprint(Recipe(3, 0.0001), 0, "digest")
    assert len(first) == 16 and int(first, 16) >= 0


def test_fingerprint_follows_every_part_and_their_order() -> None:
    recipe = Recipe()
    parts = [
        (recipe, 0, "a"),
        (replace(recipe, epochs=4), 0, "a"),
        (replace(recipe, rate=1e-5), 0, "a"),
        (recipe, 1, "a"),
        (recipe, 0, "b"),
        (recipe, "a", 0),
        (recipe, 0),
    ]
    assert len({provenance.fingerprint(*some) for some in parts}) == len(parts)


@pytest.fixture(scope="module")
def record() -> dict:
    started = datetime.now(UTC) - timedelta(seconds=90)
    return provenance.collect(
        ROOT, params=Recipe(), seed=7, data=[ROOT / "params.yaml"], started=started
    )


def test_record_says_which_code_data_and_environment(record: dict) -> None:
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    assert record["commit"] == (
        commit.stdout.strip() if provenance.has_history(ROOT) else provenance.NO_HISTORY
    )
    assert record["code"] == provenance.package_digest()
    assert record["data"] == {"params.yaml": sha256((ROOT / "params.yaml").read_bytes())}
    assert record["environment_lock"] == sha256((ROOT / "requirements.lock").read_bytes())
    assert record["params"] == {"epochs": 3, "rate": 1e-4} and record["seed"] == 7


def test_record_says_on_what_and_how_long(record: dict) -> None:
    assert set(record) == {
        "commit",
        "dirty",
        "code",
        "params",
        "params_digest",
        "data",
        "environment_lock",
        "seed",
        "started",
        "seconds",
        "peak_memory_mib",
        "energy_joules",
        "hardware",
        "versions",
    }
    assert set(record["hardware"]) == {
        "machine",
        "system",
        "processor",
        "simd",
        "cores",
        "threads",
        "pins",
        "gpu",
        "gpu_peak_memory_mib",
    }
    assert {"python", "torch", "timm", "dvc"} <= set(record["versions"])
    assert 90 <= record["seconds"] < 150 and 50 < record["peak_memory_mib"] < 100_000


def test_peak_memory_is_the_same_in_bytes_and_in_kibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux counts in KiB, macOS in bytes."""
    usage = SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(provenance.resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(sys, "platform", "linux")
    assert provenance.peak_memory() == 3 * 2**10
    monkeypatch.setattr(sys, "platform", "darwin")
    assert provenance.peak_memory() == 3


def test_modules_import_where_the_system_has_no_resource_limits() -> None:
    """As on Windows, where Python has no module ``resource``."""
    script = (
        "import sys\n"
        "sys.modules['resource'] = None\n"
        "from deepfake_repro.project import provenance\n"
        "from deepfake_repro.scoring import inputs, score\n"
        "print(provenance.peak_memory(), inputs.confined(lambda: 'detector'))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "None detector\n"
    assert result.stderr.startswith("note: this system does not limit the memory of a process")


def test_digest_of_params_is_that_of_their_sorted_json(record: dict) -> None:
    assert record["params_digest"] == sha256(b'{"epochs": 3, "rate": 0.0001}')


class Nvml:
    """The driver's library: device 1 has used 2.5 J, the others have no counter."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: object) -> int:
        handle._obj.value = index
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, used: object) -> int:
        used._obj.value = 2500
        return 0 if handle.value == 1 else 3


def test_energy_is_that_of_the_first_visible_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance.ctypes, "CDLL", lambda name: Nvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert provenance.gpu_energy() == 2.5
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert provenance.gpu_energy() is None


def test_energy_of_a_run_is_a_difference_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def energy(before: float | None, after: float | None) -> float | None:
        monkeypatch.setattr(provenance, "_ENERGY_AT_IMPORT", before)
        monkeypatch.setattr(provenance, "gpu_energy", lambda: after)
        return provenance.collect(ROOT, params={}, seed=0, data=[], started=datetime.now(UTC))[
            "energy_joules"
        ]

    assert energy(100.0, 350.26) == 250.3
    assert energy(None, None) is None


def test_no_driver_library_is_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(provenance.ctypes, "CDLL", missing)
    assert provenance.gpu_energy() is None


def test_record_names_no_host_no_user_and_no_absolute_path(record: dict) -> None:
    text = json.dumps(record)
    values = {value for value in text.replace(":", '"').split('"') if value}
    assert socket.gethostname() not in values
    assert str(ROOT) not in text and str(Path.home()) + "/" not in text
    assert not [value for value in values if value.startswith("/")]


@pytest.mark.parametrize("around", [False, True], ids=["alone", "inside another repository"])
def test_a_downloaded_archive_without_git_says_so(tmp_path: Path, around: bool) -> None:
    """The commit of a repository around it is of other code."""
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "requirements.lock").write_text("dvc==1\n")
    if around:
        git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t"]
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            subprocess.run([*git, *arguments], check=True)
    record = provenance.collect(archive, params={}, seed=0, data=[], started=datetime.now(UTC))
    assert (record["commit"], record["dirty"]) == ("none: no git history", None)


def test_where_git_is_not_installed_provenance_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    record = provenance.collect(ROOT, params={}, seed=0, data=[], started=datetime.now(UTC))
    assert (record["commit"], record["dirty"]) == ("none: no git history", None)


def test_only_what_decides_a_result_makes_a_checkout_dirty(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for name in ("requirements.lock", "src/model.py"):
        (tmp_path / name).write_text("one\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], check=True)

    def dirty() -> bool:
        return provenance.collect(tmp_path, params={}, seed=0, data=[], started=datetime.now(UTC))[
            "dirty"
        ]

    (tmp_path / "report.md").write_text("generated\n")
    assert not dirty()
    (tmp_path / "src" / "model.py").write_text("two\n")
    assert dirty()
