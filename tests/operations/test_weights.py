"""Tests of FSFM's released weights: download, recorded sha256, rejection of other bytes."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from urllib.error import URLError

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from deepfake_repro.cli import main
from deepfake_repro.detectors.catalogue import RELEASED
from deepfake_repro.detectors.manifest import DetectorManifest
from deepfake_repro.operations import weights


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the hub repository by a folder and return it."""
    folder = tmp_path / "hub"
    (folder / weights.FOLDER).mkdir(parents=True)
    for name in weights.FILES:
        (folder / weights.FOLDER / name).write_text(f"content of {name}")

    def download(repository: str, name: str) -> str:
        assert repository == weights.REPOSITORY
        return str(folder / name)

    monkeypatch.setattr(weights, "hf_hub_download", download)
    return folder


def test_first_fetch_records_the_digests_in_the_format_of_sha256sum(
    hub: Path, tmp_path: Path
) -> None:
    out, record = tmp_path / "out", tmp_path / "pretrained.sha256"
    weights.fetch(out, record)
    expected = {hashlib.sha256(f"content of {name}".encode()).hexdigest() for name in weights.FILES}
    assert {line.split()[0] for line in record.read_text().splitlines()} == expected
    subprocess.run(
        ["sha256sum", "--check", "--strict", record], cwd=out, check=True, capture_output=True
    )


def test_the_same_bytes_pass_again_and_others_are_refused_and_change_nothing(
    hub: Path, tmp_path: Path
) -> None:
    out, record = tmp_path / "out", tmp_path / "pretrained.sha256"
    weights.fetch(out, record)
    weights.fetch(out, record)
    before = record.read_text()
    (hub / weights.FOLDER / weights.FILES[0]).write_text("something else")
    with pytest.raises(
        ValueError, match=r"checkpoint-400\.pth has sha256 .* but pretrained\.sha256 records"
    ):
        weights.fetch(out, record)
    assert record.read_text() == before
    assert (out / weights.FILES[0]).read_text() == "content of checkpoint-400.pth"


def test_without_a_connection_the_message_says_where_the_file_belongs(
    tmp_path: Path, monkeypatch
) -> None:
    def offline(*_: str) -> str:
        raise LocalEntryNotFoundError("no connection\nlong explanation")

    monkeypatch.setattr(weights, "hf_hub_download", offline)
    with pytest.raises(
        ValueError,
        match=r"checkpoint-400.pth of hub repository .* \(no connection\); .* put it into",
    ):
        weights.fetch(tmp_path / "out", tmp_path / "record")
    assert not (tmp_path / "record").exists()


def test_the_list_names_every_detector_its_licence_and_whether_it_is_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / weights.DETECTORS / "gend_clip_l14" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    lines = weights.list_released(tmp_path).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(RELEASED)
    here = {line.split()[0]: line.split()[-1] for line in lines[1:]}
    assert [name for name, answer in here.items() if answer == "yes"] == ["gend_clip_l14"]
    by_name = {line.split()[0]: line for line in lines}
    assert "  MIT  " in by_name["dfdc_b7"] and "CC BY-NC 4.0" in by_name["fsfm_vit_b"]
    assert main(["weights", "list"]) == 0
    assert "gend_clip_l14" in capsys.readouterr().out
    assert main(["weights", "fetch", "nothing"]) == 2
    assert "unknown detector 'nothing'; known: gend_clip_l14" in capsys.readouterr().err


def test_a_detector_is_fetched_with_its_manifest_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub.bin").write_text("weights")
    calls = []

    def download(*place: str) -> str:
        calls.append(place)
        return str(tmp_path / "hub.bin")

    monkeypatch.setattr(weights, "hf_hub_download", download)
    folder = weights.fetch_released("gend_clip_l14", tmp_path)
    assert calls == [("yermandy/GenD_CLIP_L_14", "model.safetensors")]
    assert "licence of the weights: MIT" in capsys.readouterr().out
    digest = hashlib.sha256(b"weights").hexdigest()
    assert DetectorManifest.read(folder).weights.sha256 == digest
    record = (tmp_path / weights.RECORD).read_text()
    assert record == f"{digest}  gend_clip_l14/model.safetensors\n"
    weights.fetch_released("gend_clip_l14", tmp_path)
    assert len(calls) == 1, "a file that is here is kept"
    (folder / "model.safetensors").write_text("others")
    with pytest.raises(ValueError, match=r"has sha256 .* but released\.sha256 records"):
        weights.fetch_released("gend_clip_l14", tmp_path)


def test_a_licence_is_accepted_first_and_what_must_be_put_where_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"sbi_c23: read the licence at .* --accept-licence"):
        weights.fetch_released("sbi_c23", tmp_path)
    where = weights.DETECTORS / "sbi_c23"
    with pytest.raises(ValueError, match=rf"download FFc23\.tar from .*, put it into .*{where}"):
        weights.fetch_released("sbi_c23", tmp_path, accepted=True)

    def offline(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(weights, "urlopen", offline)
    with pytest.raises(
        ValueError, match=r"no connection .*no route.*: download final_111_\S+ from"
    ):
        weights.fetch_released("dfdc_b7", tmp_path)
    assert not (tmp_path / weights.RECORD).exists()
    assert not list(tmp_path.rglob("final_*"))
    folder = tmp_path / where
    folder.mkdir(parents=True)
    (folder / "FFc23.tar").write_text("put here by hand")
    assert weights.fetch_released("sbi_c23", tmp_path, accepted=True) == folder
    assert DetectorManifest.read(folder).aggregation == "frame_max"
