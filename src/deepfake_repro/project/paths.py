"""Paths of everything that the stages exchange on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .params import read_yaml, root

ASSETS = "data/assets"
"""Folder of the demo's licensed assets, relative to the root."""


@dataclass(frozen=True)
class Paths:
    """Files and folders of one profile, all below the repository root ``base``."""

    profile: str
    base: Path

    @property
    def roots(self) -> Path:
        """YAML file with the folder of each corpus; hand-written for ``paper``, else generated."""
        return self.base / "data" / "corpora" / f"{self.profile}.yaml"

    @property
    def index(self) -> Path:
        """Index table with one row per video or face sequence."""
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
        """Landmarks of the real training and validation crops, for SBI."""
        return self.base / "data" / "landmarks" / self.profile / "points.parquet"

    @property
    def pretrained(self) -> Path:
        """FSFM start weights of the profile in the released format, written by notebook 03b."""
        return self.base / "data" / "pretrained" / self.profile

    def weights(self, variant: str, seed: int) -> Path:
        """Return the folder of a run's weights, history and provenance."""
        return self.base / "results" / self.profile / "weights" / f"{variant}-{seed}"

    def predictions(self, variant: str, seed: int) -> Path:
        """Return the folder with one Parquet file per test set and one row per crop."""
        return self.base / "results" / self.profile / "predictions" / f"{variant}-{seed}"

    @property
    def runs(self) -> Path:
        """Scores, curves and notebooks of each run, in git."""
        return self.base / "results" / self.profile / "runs"

    @property
    def report(self) -> Path:
        """Tables and figures of the profile, in git."""
        return self.base / "results" / self.profile / "report"

    @property
    def robustness(self) -> Path:
        """Robustness study with one table per run, in git."""
        return self.base / "results" / self.profile / "robustness"

    def scratch(self, name: str) -> Path:
        """Return a folder for unfinished work, outside the outputs that DVC deletes first."""
        return self.base / ".scratch" / name


def profile_paths(profile: str) -> Paths:
    """Return the paths of a profile in this checkout."""
    return Paths(profile, root())


def corpus_roots(file: Path) -> dict[str, Path]:
    """Read corpus -> folder from a roots file; corpora without a folder are left out.

    Relative paths start at the file's folder. Raises ``FileNotFoundError`` or ``ValueError`` naming
    the file and what it must contain.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"{file.name} not found in {file.parent}: it lists the folder of each corpus "
            "(data/README.md shows the format)"
        )
    content = read_yaml(file)
    if not isinstance(content, dict) or not isinstance(content.get("roots"), dict):
        raise ValueError(f"{file.name}: missing key 'roots' with lines 'corpus: folder'")
    return {corpus: file.parent / folder for corpus, folder in content["roots"].items() if folder}
