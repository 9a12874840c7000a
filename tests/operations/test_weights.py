"""Tests of FSFM's released weights: download, recorded sha256, rejection of other bytes."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

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
