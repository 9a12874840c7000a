"""Tests of ``doctor`` on a fresh checkout, and on checkouts and machines broken on purpose."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from deepfake_repro.cli import main
from deepfake_repro.operations.clones import with_values
from deepfake_repro.operations.doctor import checkout, system, thorough
from deepfake_repro.operations.doctor.finding import ERROR, OK, WARNING, Finding
from deepfake_repro.operations.doctor.report import diagnose, show
from deepfake_repro.project import params
from deepfake_repro.project.paths import Paths
from support.clones import REPOSITORY, clone
from support.official_trees import COUNTS, celebdf2

PARAMS = params.load(REPOSITORY / "params.yaml")
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("doctor") / "clone")


@pytest.fixture
def fresh(pristine: Path) -> Path:
    """The clone without changes of an earlier test."""
    subprocess.run(["git", "checkout", "--quiet", "."], cwd=pristine, check=True)
    return pristine


def of(findings: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def set_params(folder: Path, values: dict[str, object]) -> None:
    file = folder / "params.yaml"
    file.write_text(with_values(file.read_text(), values))


def test_a_fresh_checkout_has_no_error(fresh: Path) -> None:
    findings = list(diagnose(fresh, fast=True))
    assert not [finding for finding in findings if finding.state == ERROR]
    assert of(findings, "git")[0].state == OK
    assert {"python", "packages", "processor", "GPU", "disk", "open files", "DVC", "TMPDIR"} <= {
        finding.subject for finding in findings
    }


def test_the_fast_part_does_not_import_torch_or_pandas(fresh: Path) -> None:
    code = (
        "import sys; from deepfake_repro.cli import main; code = main(['doctor', '--fast']);"
        "assert not {'torch', 'pandas'} & set(sys.modules); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=fresh,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].startswith("doctor: ")


def test_broken_1_other_packages_than_the_lock(fresh: Path) -> None:
    lock = fresh / "requirements.lock"
    torch = metadata.version("torch").partition("+")[0]
    assert f"\ntorch=={torch}\n" in lock.read_text()
    lock.write_text(lock.read_text().replace(f"\ntorch=={torch}\n", "\ntorch==1.0\n"))
    found = of(list(diagnose(fresh, fast=True)), "packages")
    text = f"not as in requirements.lock: torch {metadata.version('torch')} (pinned 1.0)"
    assert found == [Finding(WARNING, "packages", text, "make environment")]
    project = fresh / "pyproject.toml"
    project.write_text(project.read_text().replace('"torch",', '"torch",\n    "unheard-of",'))
    lock.write_text(lock.read_text() + "unheard-of==1.0\n")
    found = of(list(diagnose(fresh, fast=True)), "packages")
    assert found[0] == Finding(ERROR, "packages", "not installed: unheard-of", "make environment")


def test_broken_2_a_merge_left_conflicts(
    fresh: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fresh / "dvc.lock"
    lock.write_text(f"<<<<<<< ours\n{lock.read_text()}>>>>>>> theirs\n")
    monkeypatch.chdir(fresh)
    assert main(["doctor", "--fast"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if "dvc.lock" in line)
    assert line.startswith("error   DVC") and line.endswith("git checkout --ours dvc.lock")


def test_broken_3_the_temporary_folder(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is that of sockets: a name that is one byte longer than the check allows fails."""
    monkeypatch.setattr("tempfile.tempdir", None)
    room = system.SOCKET_PATH - 1 - system.SOCKET_NAME
    folder = tmp_path / ("x" * (room - len(str(tmp_path)) - 1))
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    assert [found.state for found in system.check_temporary_folder()] == [OK]
    longer = Path(f"{folder}x")
    longer.mkdir()
    monkeypatch.setenv("TMPDIR", str(longer))
    monkeypatch.setattr("tempfile.tempdir", None)
    (found,) = system.check_temporary_folder()
    assert found.state == ERROR and f"allow {room}" in found.text
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert next(system.check_temporary_folder()).state == WARNING


def test_broken_4_a_machine_without_room(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, too few open files, docker's 64 MB of shared memory."""
    monkeypatch.setattr(system.shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 64 * 10**6))
    (disk, *_) = system.check_disk(fresh, PARAMS)
    assert disk.state == ERROR and "0.1 GB free, the demo needs 2" in disk.text
    set_params(fresh, {"run.profiles": ["paper"], "run.miniatures": [], "run.pretrain": []})
    paper = params.load(fresh / "params.yaml")
    memory = system.check_shared_memory(paper, Path("/"))
    # ViT-B/16: 12 processes keep 4 batches of 64 images; CLIP's batches are twice as large.
    assert system.prefetched_bytes(paper, "paper") == 12 * 4 * 128 * 3 * 224**2 * 4
    assert memory.state == ERROR and "docker run --shm-size=7g" in memory.cure
    assert system.check_shared_memory(PARAMS, Path("/")).state == OK  # the demo loads in-process
    for limit, state in ((64, ERROR), (512, WARNING), (1024, OK)):
        monkeypatch.setattr(system.resource, "getrlimit", lambda kind, limit=limit: (limit, 4096))
        assert system.check_open_files().state == state
    monkeypatch.setattr(system.resource, "getrlimit", lambda kind: (200, 200))
    assert "--ulimit nofile=4096" in system.check_open_files().cure  # no user may raise it


def test_broken_5_roots_and_weights_of_the_paper_profile(fresh: Path, tmp_path: Path) -> None:
    set_params(fresh, {"run.profiles": ["paper"], "run.miniatures": [], "run.pretrain": []})
    chosen = params.load(fresh / "params.yaml")
    (found,) = checkout.check_roots(fresh, chosen)
    assert (found.state, found.text) == (ERROR, "paper: no corpus has a root")
    roots = fresh / "data" / "corpora" / "paper.yaml"
    roots.write_text(f"roots:\n  celebdf2: {tmp_path / 'absent'}\n")
    (found,) = checkout.check_roots(fresh, chosen)
    assert found.state == ERROR and "celebdf2" in found.text and "not a folder" in found.text
    missing = {found.text for found in checkout.check_start_files(fresh, chosen)}
    assert missing == {"paper: data/pretrained/paper/checkpoint-400.pth is missing"}


def test_corpora_are_counted_beside_the_official_release(fresh: Path, tmp_path: Path) -> None:
    root = celebdf2(tmp_path / "celebdf2", scale=0.01)
    videos = len(list(root.rglob("*.mp4")))
    roots = fresh / "data" / "corpora" / "paper.yaml"
    roots.write_text(f"roots:\n  celebdf2: {root}\n")
    found = list(thorough.check_corpora(PARAMS, Paths("paper", fresh)))
    official = sum(sum(pair) for pair in COUNTS["celebdf2"].values())
    assert [each.text for each in found] == [
        f"celebdf2: {videos} videos, the official release has {official:,}"
    ]
    assert found[0].state == WARNING


def test_weights_are_compared_with_their_recorded_sha256(fresh: Path) -> None:
    file = fresh / "data" / "pretrained" / "paper" / "checkpoint-400.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"weights")
    record = fresh / "data" / "pretrained.sha256"
    record.write_text(f"{hashlib.sha256(b'weights').hexdigest()}  {file.name}\n")

    def states() -> list[str]:
        found = thorough.check_weights(fresh, PARAMS, "paper")
        return [each.state for each in found if file.name in each.text]

    assert states() == [OK]
    file.write_bytes(b"others")
    assert states() == [ERROR]
    file.unlink()
    record.unlink()


def test_a_dvc_at_work_is_seen_and_a_dead_one_is_not(fresh: Path) -> None:
    file = fresh / ".dvc" / "tmp" / "rwlock"
    file.parent.mkdir(exist_ok=True)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    alive = {"pid": os.getpid(), "cmd": "dvc repro"}
    locks = {"write": {"a": alive}, "read": {"b": [{"pid": child.pid, "cmd": "dvc repro"}]}}
    file.write_text(json.dumps(locks))
    assert checkout.dvc_processes(fresh) == [os.getpid()]
    file.write_text("")  # DVC was killed while it wrote the file, and refuses to start
    (found,) = checkout.check_dvc(fresh)
    assert (found.state, found.cure) == (ERROR, "rm .dvc/tmp/rwlock")
    file.unlink()
    assert [found.state for found in checkout.check_dvc(fresh)] == [OK]


def test_variables_against_the_pins_and_a_quota_of_cores_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    threads = [each for each in system.check_processor(PARAMS) if each.subject == "threads"]
    assert threads[0].state == WARNING and "OMP_NUM_THREADS=7 (pinned 1)" in threads[0].text
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert system.usable_cores(quota) == 0.5
    quota.write_text("max 100000\n")
    assert system.usable_cores(quota) == len(os.sched_getaffinity(0))


def test_three_changed_files_are_named_and_others_counted(fresh: Path) -> None:
    modules = sorted((fresh / "src" / "deepfake_repro" / "project").glob("p*.py"))[:4]
    for number, module in enumerate(modules, 1):
        module.write_text(f"{module.read_text()}# changed\n")
        (found,) = checkout.check_git(fresh)
        names = [each.relative_to(fresh).as_posix() for each in modules[: min(number, 3)]]
        rest = " and 1 more" if number == 4 else ""
        assert f": {', '.join(names)}{rest}; runs are" in found.text


def test_an_archive_without_history_is_a_warning_only(tmp_path: Path) -> None:
    (found,) = checkout.check_git(tmp_path)
    assert found.state == WARNING and "git init" in found.cure


def test_the_exit_code_counts_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert show([Finding(OK, "a", "fine"), Finding(WARNING, "b", "slow", "do this")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok      a               fine",
        "warning b               slow -> do this",
        "doctor: 1 ok, 1 warning, 0 error",
    ]
    assert show([Finding(ERROR, "a", "broken", "repair it")]) == 1
