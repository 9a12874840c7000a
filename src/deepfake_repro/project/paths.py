"""Where each table between the steps lies: the only interfaces on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .params import read_yaml, root

ASSETS = "data/assets"
"""The demo's licensed assets, below the root."""


@dataclass(frozen=True)
class Paths:
    """Folders and files of one profile; all below the repository root."""

    profile: str
    base: Path

    @property
    def roots(self) -> Path:
        """YAML file that says where each corpus lies: written by hand (paper) or by the miniatures stage."""
        return self.base / "data" / "corpora" / f"{self.profile}.yaml"

    @property
    def index(self) -> Path:
        """Index table, a row per video or face sequence."""
        return self.base / "data" / "index" / self.profile / "index.parquet"

    @property
    def crops(self) -> Path:
        """Crop store and ``skipped.csv``."""
        return self.base / "data" / "crops" / self.profile

    @property
    def samples(self) -> Path:
        """``train.parquet`` and ``validation.parquet``."""
        return self.base / "data" / "samples" / self.profile

    @property
    def landmarks(self) -> Path:
        """Landmarks of the real training and validation crops that SBI learns from."""
        return self.base / "data" / "landmarks" / self.profile / "points.parquet"

    @property
    def pretrained(self) -> Path:
        """FSFM start weights of the profile: made by notebook 03b, in the released format."""
        return self.base / "data" / "pretrained" / self.profile

    def weights(self, variant: str, seed: int) -> Path:
        """Trained weights, history and provenance of one run."""
        return self.base / "results" / self.profile / "weights" / f"{variant}-{seed}"

    def predictions(self, variant: str, seed: int) -> Path:
        """One parquet file per test set, a row per crop."""
        return self.base / "results" / self.profile / "predictions" / f"{variant}-{seed}"

    @property
    def runs(self) -> Path:
        """What a reviewer reads of each run, in git."""
        return self.base / "results" / self.profile / "runs"

    @property
    def report(self) -> Path:
        """Tables and figures of the profile, in git."""
        return self.base / "results" / self.profile / "report"

    @property
    def robustness(self) -> Path:
        """The robustness study, a table per run, in git."""
        return self.base / "results" / self.profile / "robustness"

    def scratch(self, name: str) -> Path:
        """Checkpoints of an unfinished run; outside DVC's outputs, which DVC deletes before a run."""
        return self.base / ".scratch" / name


def profile_paths(profile: str) -> Paths:
    """Places of a profile in this checkout."""
    return Paths(profile, root())


def corpus_roots(file: Path) -> dict[str, Path]:
    """Corpus -> folder, from a roots file; relative paths count from the file's folder, empty ones are left out.

    Raises ``FileNotFoundError`` or ``ValueError`` naming the file and what to write into it.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"{file.name} not found in {file.parent}: it says where each corpus lies "
            "(data/README.md shows the format)"
        )
    content = read_yaml(file)
    if not isinstance(content, dict) or not isinstance(content.get("roots"), dict):
        raise ValueError(f"{file.name}: key 'roots' with one line 'corpus: folder' each is missing")
    return {corpus: file.parent / folder for corpus, folder in content["roots"].items() if folder}
