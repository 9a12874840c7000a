"""Tables 1 and 2 rebuilt from what was found, with the paper's numbers beside (Sections 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..crops.store import CropStore
from ..project.params import load
from ..project.paths import profile_paths
from ..project.vocabulary import IN_THE_WILD, MISSING
from .counts import CLASSES, compare, published
from .leakage import leakage

HEADS = {
    "table1": ("FS", "RE", "Train", "Val", "Test", "Real", "Fake", "Real samples", "Fake samples"),
    "table2": ("Real", "frames", "Fake", "frames", "Total", "frames"),
}
TITLES = {
    "table1": "Table 1: training corpora. Manipulations, videos per split and per class, training samples. Each cell: "
    "found / paper.\nThe paper prints samples in thousands. DFDC's metadata name no method: its fakes count "
    "as one found.",
    "table2": "Table 2: in-the-wild corpora. Videos and sampled frames with a face. Each cell: found / paper.\n"
    "The paper prints frames in thousands.",
}
NOT_THE_PAPERS = (
    '**Profile `{}`: miniature corpora of synthetic people. "Found" is their planned size; it measures '
    "nothing about the paper's corpora.**"
)


def counts(profile: str) -> None:
    """Index, samples and crops of a profile -> ``results/<profile>/data``, in git.

    Writes ``counts.csv`` (:func:`.dataset.counts.compare`), ``leakage.csv`` and, as Markdown and
    CSV, Tables 1 and 2. Raises ``FileNotFoundError`` naming what an earlier stage has not made yet.
    """
    params, paths = load(), profile_paths(profile)
    params.profile(profile)  # an unknown one is an error
    miniature = profile in params.miniatures
    index = pd.read_parquet(paths.index)
    report = pd.read_csv(paths.index.with_name("report.csv"), keep_default_na=False)
    found = {
        "table1": table1(index, pd.read_csv(paths.samples / "summary.csv")),
        "table2": table2(index, sampled_frames(index, paths.crops)),
    }
    sources, out = paths.base / "results" / "published", paths.base / "results" / profile / "data"
    out.mkdir(parents=True, exist_ok=True)
    _write_csv(compare(index, report, published(sources), miniature=miniature), out / "counts.csv")
    _write_csv(leakage(index), out / "leakage.csv")
    for name, table in found.items():
        paper = pd.read_csv(sources / f"{name}.csv").set_index("dataset")
        _write_csv(stacked(table, paper), out / f"{name}.csv")
        notes = [NOT_THE_PAPERS.format(profile)] if miniature else []
        (out / f"{name}.md").write_text(
            markdown(name, table, paper, notes + _not_run(report, paper)), encoding="utf-8"
        )
    print((out / "table1.md").read_text(encoding="utf-8"))


def table1(index: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Table 1 of the index: a row per corpus and ``total``, the numeric columns of the published ``table1.csv``.

    ``samples``: :func:`.dataset.sampling.summary`, whose corpora are those that train.
    """
    rows, taken = {}, samples.set_index("dataset").drop(index="total")
    for corpus, sample in taken.iterrows():
        videos = index[index["dataset"] == corpus]
        rows[corpus] = {
            **{
                f"manipulations_{category.lower()}": len(methods(videos, category))
                for category in ("FS", "RE")
            },
            **{
                f"videos_{split}": int((videos["split"] == split).sum())
                for split in ("train", "val", "test")
            },
            **{
                f"videos_{name}": int((videos["label"] == label).sum())
                for label, name in enumerate(CLASSES)
            },
            **{f"samples_{name}": int(sample[f"{name}_crops"]) for name in CLASSES},
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["total"] = table.sum()
    return table


def methods(videos: pd.DataFrame, category: str) -> list[str]:
    """Manipulations of a category (FS, RE) among the videos of a corpus, in alphabetical order.

    A composite such as ``faceswap-wav2lip`` of methods that the corpus also has alone is no method
    of its own: so does Table 1 count FakeAVCeleb's three.
    """
    alone = set(videos["manipulation"])
    found = sorted(set(videos.loc[videos["category"] == category, "manipulation"]))
    return [name for name in found if "-" not in name or not alone.issuperset(name.split("-"))]


def table2(index: pd.DataFrame, frames: Mapping[str, Mapping[int, int]]) -> pd.DataFrame:
    """Table 2 of the index: a row per corpus of ``frames``, the numeric columns of the published ``table2.csv``.

    ``frames``: sampled frames of each corpus by label, as :func:`sampled_frames` counts them.
    """
    rows = {}
    for corpus, by_label in frames.items():
        labels = index.loc[index["dataset"] == corpus, "label"]
        row = {
            f"{what}_{name}": int(count)
            for label, name in enumerate(CLASSES)
            for what, count in (
                ("videos", (labels == label).sum()),
                ("frames", by_label.get(label, 0)),
            )
        }
        rows[corpus] = row | {
            f"{what}_total": row[f"{what}_real"] + row[f"{what}_fake"]
            for what in ("videos", "frames")
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def sampled_frames(index: pd.DataFrame, crops: Path) -> dict[str, dict[int, int]]:
    """Frames with at least one crop, by corpus of Table 2 and label; corpora that are not indexed are left out."""
    label = index.set_index("video_id")["label"]
    counted = {}
    for corpus in IN_THE_WILD:
        if (index["dataset"] == corpus).any():
            table = (
                CropStore(crops, f"{corpus}-*.arrow").table(["video_id", "frame"]).drop_duplicates()
            )
            counted[corpus] = table["video_id"].map(label).value_counts().to_dict()
    return counted


def stacked(found: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """A row ``found`` and a row ``paper`` for each row of the paper's table, with its columns."""
    whole = {
        "found": found.reindex(paper.index).assign(name=paper["name"])[paper.columns],
        "paper": paper,
    }
    table = (
        pd.concat(whole, names=["who", "dataset"])
        .swaplevel()
        .sort_index(level="who", kind="stable")
    )
    table = table.reindex([(dataset, who) for dataset in paper.index for who in whole])
    return table.convert_dtypes().reset_index()


def markdown(name: str, found: pd.DataFrame, paper: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """``table1`` or ``table2`` as Markdown, each cell "found / paper"; what is not there is a dash.

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
        ours = found.loc[corpus] if corpus in found.index else {}
        lines.append(
            _line(
                row["name"],
                [
                    f"{_number(ours.get(column))} / {_number(row[column])}"
                    for column in paper.columns.drop("name")
                ],
            )
        )
    return "\n".join(lines) + "\n"


def _not_run(report: pd.DataFrame, paper: pd.DataFrame) -> list[str]:
    absent = report[
        report["corpus"].isin(paper.index)
        & (report["split"] == "none")
        & (report["real"] == 0)
        & (report["fake"] == 0)
    ]
    return [
        f"{paper.loc[row.corpus, 'name']}: {MISSING} ({row.notes})." for row in absent.itertuples()
    ]


def _line(first: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _number(value: float | None) -> str:
    return MISSING if value is None or pd.isna(value) else f"{int(value):,}"


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, na_rep=MISSING, lineterminator="\n")
