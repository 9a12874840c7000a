"""The repository as an unpacked archive: a copy without git history, in a folder with any name."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    ".dvc/config",
    ".dvc/plots",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "Makefile",
    "README.md",
    "data/detectors.yaml",
    "data/own_corpora.yaml",
    "docs",
    "dvc.lock",
    "dvc.yaml",
    "environment.yml",
    "notebooks",
    "params.yaml",
    "pyproject.toml",
    "requirements.lock",
    "results",
    "src",
)
GENERATED = ("weights", "predictions", ".clean", "_build", "__pycache__", ".ipynb_checkpoints")
ODD_NAME = "a folder's name, with ümlaut & 顔"


def unpack(parent: Path) -> Path:
    """Copy the working tree to a folder of an odd name below ``parent`` and return it.

    Its ``.venv`` is a link to the environment of this process; data and caches are left out.
    """
    folder = parent / ODD_NAME
    for name in PARTS:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*GENERATED))
        elif source.is_file():
            shutil.copy2(source, target)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder
