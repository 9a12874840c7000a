"""Rebuild Tables 1 and 2 from the index, beside the paper's numbers (Sections 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..crops.store import CropStore
from ..project.params import load
from ..project.paths import profile_paths
from ..project.vocabulary import IN_THE_WILD, MISSING
from .counts import CLASSES, compare, load_published
from .index import read_report
from .leakage import leakage

HEADS = {
    "table1": ("FS", "RE", "Train", "Val", "Test", "Real", "Fake", "Real samples", "Fake samples"),
    "table2": ("Real", "frames", "Fake", "frames", "Total", "frames"),
}
TITLES = {
    "table1": "Table 1: training corpora. Manipulations, videos per split and per class, training "
    "samples. Each cell: found / paper.\n"
    "The paper prints samples in thousands. DFDC's metadata do not name the methods, so its fakes "
    "count as one.",
    "table2": "Table 2: in-the-wild corpora. Videos and sampled frames with a face. Each cell: "
    "found / paper.\n"
    "The paper prints frames in thousands.",
}
NOT_THE_PAPERS = (
    '**Profile `{}`: miniature corpora of synthetic people. "Found" is their planned size; it '
    "measures nothing about the paper's corpora.**"
)


def write_counts(profile: str) -> None:
    """Write counts, leakage and Tables 1 and 2 of a profile to ``results/<profile>/data``, in git.

    The files are ``counts.csv`` (:func:`.dataset.counts.compare`), ``leakage.csv``, and the tables
    as Markdown and CSV. Raises ``FileNotFoundError`` naming what an earlier stage has not written.
    """
    params = load()
    params.profile(profile)  # reports an unknown profile
    paths = profile_paths(profile)
    miniature = profile in params.miniatures
    index = pd.read_parquet(paths.index)
    report = read_report(paths)
    tables = {
        "table1": table1(index, pd.read_csv(paths.samples / "summary.csv")),
        "table2": table2(index, sampled_frames(index, paths.crops)),
    }
    sources = paths.base / "results" / "published"
    out = paths.base / "results" / profile / "data"
    out.mkdir(parents=True, exist_ok=True)
    compared = compare(index, report, load_published(sources), miniature=miniature)
    _write_csv(compared, out / "counts.csv")
    _write_csv(leakage(index), out / "leakage.csv")
    for name, table in tables.items():
        paper = pd.read_csv(sources / f"{name}.csv").set_index("dataset")
        _write_csv(stacked(table, paper), out / f"{name}.csv")
        notes = [NOT_THE_PAPERS.format(profile)] if miniature else []
        notes += _not_indexed(report, paper)
        (out / f"{name}.md").write_text(markdown(name, table, paper, notes), encoding="utf-8")
    print((out / "table1.md").read_text(encoding="utf-8"))


def table1(index: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Rebuild Table 1: one row per training corpus and ``total``.

    ``samples``: :func:`.dataset.sampling.summary`, which lists the training corpora. The columns
    are the numeric ones of the published ``table1.csv``.
    """
    rows = {}
    for corpus, sample in samples.set_index("dataset").drop(index="total").iterrows():
        videos = index[index["dataset"] == corpus]
        row = {}
        for category in ("FS", "RE"):
            row[f"manipulations_{category.lower()}"] = len(methods(videos, category))
        for split in ("train", "val", "test"):
            row[f"videos_{split}"] = int((videos["split"] == split).sum())
        for label, name in enumerate(CLASSES):
            row[f"videos_{name}"] = int((videos["label"] == label).sum())
        for name in CLASSES:
            row[f"samples_{name}"] = int(sample[f"{name}_crops"])
        rows[corpus] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["total"] = table.sum()
    return table


def methods(videos: pd.DataFrame, category: str) -> list[str]:
    """Return the manipulations of a category (FS, RE) in a corpus, in alphabetical order.

    A composite such as ``faceswap-wav2lip`` does not count as a method if the corpus has its parts
    alone too: so Table 1 counts three methods of FakeAVCeleb.
    """
    every = set(videos["manipulation"])
    names = sorted(set(videos.loc[videos["category"] == category, "manipulation"]))
    return [name for name in names if "-" not in name or not every.issuperset(name.split("-"))]


def table2(index: pd.DataFrame, frames: Mapping[str, Mapping[int, int]]) -> pd.DataFrame:
    """Rebuild Table 2: one row per corpus of ``frames``.

    ``frames``: sampled frames of each corpus by label, see :func:`sampled_frames`. The columns are
    the numeric ones of the published ``table2.csv``.
    """
    rows = {}
    for corpus, frames_by_label in frames.items():
        labels = index.loc[index["dataset"] == corpus, "label"]
        row = {}
        for label, name in enumerate(CLASSES):
            row[f"videos_{name}"] = int((labels == label).sum())
            row[f"frames_{name}"] = int(frames_by_label.get(label, 0))
        for unit in ("videos", "frames"):
            row[f"{unit}_total"] = row[f"{unit}_real"] + row[f"{unit}_fake"]
        rows[corpus] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def sampled_frames(index: pd.DataFrame, crops: Path) -> dict[str, dict[int, int]]:
    """Count the frames with at least one crop by label, for each indexed corpus of Table 2."""
    label = index.set_index("video_id")["label"]
    counts = {}
    for corpus in IN_THE_WILD:
        if (index["dataset"] == corpus).any():
            store = CropStore(crops, f"{corpus}-*.arrow")
            frames = store.table(["video_id", "frame"]).drop_duplicates()
            counts[corpus] = frames["video_id"].map(label).value_counts().to_dict()
    return counts


def stacked(found: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Return a row ``found`` and a row ``paper`` for each row of the paper's table."""
    parts = {
        "found": found.reindex(paper.index).assign(name=paper["name"])[paper.columns],
        "paper": paper,
    }
    table = pd.concat(parts, names=["who", "dataset"]).swaplevel()
    table = table.sort_index(level="who", kind="stable")
    table = table.reindex([(dataset, who) for dataset in paper.index for who in parts])
    return table.convert_dtypes().reset_index()


def markdown(name: str, found: pd.DataFrame, paper: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """Format ``table1`` or ``table2`` as Markdown with cells "found / paper", missing ones a dash.

    Both tables are indexed by corpus key; rows, their names and the columns are the paper's.
    """
    lines = [
        TITLES[name],
        "",
        *(f"{note}\n" for note in notes),
        _line("", HEADS[name]),
        _line("---", ["---:"] * len(HEADS[name])),
    ]
    for corpus, row in paper.iterrows():
        counts = found.loc[corpus] if corpus in found.index else {}
        cells = [
            f"{_number(counts.get(column))} / {_number(row[column])}"
            for column in paper.columns.drop("name")
        ]
        lines.append(_line(row["name"], cells))
    return "\n".join(lines) + "\n"


def _not_indexed(report: pd.DataFrame, paper: pd.DataFrame) -> list[str]:
    """Return one line per corpus of the paper that was not indexed, with the reason."""
    is_empty = (report["split"] == "none") & (report["real"] == 0) & (report["fake"] == 0)
    absent = report[report["corpus"].isin(paper.index) & is_empty]
    return [
        f"{paper.loc[corpus, 'name']}: {MISSING} ({notes})."
        for corpus, notes in zip(absent["corpus"], absent["notes"], strict=True)
    ]


def _line(first: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _number(value: float | None) -> str:
    return MISSING if value is None or pd.isna(value) else f"{int(value):,}"


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, na_rep=MISSING, lineterminator="\n")
