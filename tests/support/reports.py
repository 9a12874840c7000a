"""Paths of the demo's results, and its report made anew from a few rows."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pandas as pd
import pytest

from deepfake_repro.evaluation.metrics import table_row
from deepfake_repro.evaluation.rows import write_csv, write_json
from deepfake_repro.operations.clones import with_values

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "results" / "demo" / "runs"
FEW = ("sbi", "fsfm_dataset")


def write_own(folder: Path, run: str, corpus: str, videos: pd.DataFrame) -> None:
    """Write the files of the stage ``score_own``; one video had no face."""
    out = folder / run / "own"
    out.mkdir(parents=True, exist_ok=True)
    videos = videos.assign(dataset=corpus)
    write_json(out / f"{corpus}.json", table_row(videos, {corpus: 1}))
    write_csv(out / f"{corpus}.csv", videos)


def make_root(root: Path, detectors: str = "[]") -> Path:
    """Make a repository of the demo's results that runs the rows ``FEW``; return its results.

    Its corpus of one's own, ``mine``, is DFDC. ``detectors``: the list of detectors, as YAML.
    """
    lists = {"variants": [*FEW], "finetune": ["fsfm_dataset"], "sbi": ["sbi"], "lnclip": []}
    lists |= {"calibrate": [], "robustness": ["sbi"]}
    values = {f"run.{key}": rows for key, rows in lists.items()}
    values |= {"demo.scoring.bootstrap": 20}
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(with_values(text, values), encoding="utf-8")
    (root / "dvc.yaml").touch()
    (root / "data").mkdir()
    (root / "data" / "own_corpora.yaml").write_text("own: [{name: mine, root: videos}]\n")
    (root / "data" / "detectors.yaml").write_text(f"detectors: {detectors}\n")
    results = root / "results" / "demo"
    (results / "runs").mkdir(parents=True)
    for name in ("published", "studies"):
        (root / "results" / name).symlink_to(ROOT / "results" / name)
    for name in ("controls", "robustness"):
        (results / name).symlink_to(ROOT / "results" / "demo" / name)
    for source in RUNS.iterdir():
        folder = results / "runs" / source.name
        folder.mkdir()
        for file in source.iterdir():
            if file.is_file():
                (folder / file.name).symlink_to(file)
        videos = pd.read_csv(source / "videos.csv")
        write_own(results / "runs", source.name, "mine", videos[videos["dataset"] == "dfdc"])
    return results


def execute_results(root: Path) -> Path:
    """Run the code of notebook 07 in a repository; return the folder of its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        variables: dict[str, object] = {}
        for cell in nbformat.read(ROOT / "notebooks" / "07_results.ipynb", as_version=4).cells:
            if cell["cell_type"] == "code":
                exec(cell["source"], variables)
    return root / "results" / "demo" / "report"
