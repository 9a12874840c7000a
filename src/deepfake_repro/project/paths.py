"""Paths of everything that the stages exchange on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .params import current, read_yaml, root

TRAINING, UNSEEN = "training", "unseen"
PARTS = (TRAINING, UNSEEN)
"""Parts of a profile's corpora, each indexed and cropped by stages of its own: training depends on
the first alone. A test corpus of your own is a part, too, under its name."""
FOR_PRETRAINING = "vggface2"
"""FSFM's own corpus: it belongs to the first part, like the profile's training corpora."""
OWN_CORPORA = "data/own_corpora.yaml"
ASSETS = "data/assets"
"""Folder of the demo's licensed assets, relative to the root."""
OWN_DETECTORS = "data/detectors"
"""Folder of ONNX face detectors of your own, relative to the root; ``crops`` depends on it."""


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
        """Index with one row per video or face sequence: a Parquet file per part, read as one."""
        return self.base / "data" / "index" / self.profile

    @property
    def crops(self) -> Path:
        """Crop store of all parts."""
        return self.base / "data" / "crops" / self.profile

    def part_index(self, part: str) -> Path:
        """Return the index of one part, or of one test corpus of your own."""
        folder = self.index if part in PARTS else self._own / "index"
        return folder / part / "index.parquet"

    def part_crops(self, part: str) -> Path:
        """Return the crop store of one part, or of one test corpus of your own."""
        folder = self.crops if part in PARTS else self._own / "crops"
        return folder / part

    @property
    def _own(self) -> Path:
        return self.base / "data" / "own" / self.profile

    @property
    def training_index(self) -> Path:
        """Index of the corpora that training needs."""
        return self.part_index(TRAINING)

    @property
    def training_crops(self) -> Path:
        """Crop store of the corpora that training needs."""
        return self.part_crops(TRAINING)

    def own_results(self, variant: str, seed: int) -> Path:
        """Return the folder with a run's results on test corpora of your own, one per corpus."""
        return self.runs / f"{variant}-{seed}" / "own"

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


def part_roots(paths: Paths, part: str) -> dict[str, Path]:
    """Return the folder of each corpus in a part; of a corpus of your own, its folder."""
    if part not in PARTS:
        return {part: own_corpora(paths.base)[part]}
    training = {*current().profile(paths.profile).corpora.training, FOR_PRETRAINING}
    wanted = part == TRAINING
    roots = corpus_roots(paths.roots)
    return {corpus: folder for corpus, folder in roots.items() if (corpus in training) == wanted}


def own_corpora(base: Path) -> dict[str, Path]:
    """Read name -> folder of the test corpora of your own; ``ValueError`` names a wrong line."""
    file = base / OWN_CORPORA
    content = read_yaml(file)
    entries = content.get("own") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"{OWN_CORPORA}: missing key 'own' with lines '- {{name: …, root: …}}'")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"name", "root"}:
            raise ValueError(f"{OWN_CORPORA}: {entry!r} must have the keys name and root")
        if not re.fullmatch(r"[a-z0-9_]+", str(entry["name"])) or entry["name"] in PARTS:
            raise ValueError(
                f"{OWN_CORPORA}: name {entry['name']!r} must be lower-case letters, digits and _"
            )
    return {entry["name"]: base / entry["root"] for entry in entries}


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
