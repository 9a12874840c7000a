"""LNCLIP-DF's benchmarks in the index of all corpora, and on the page that a user reads."""

from __future__ import annotations

import importlib
from pathlib import Path

import pandas as pd

from deepfake_repro.corpora import (
    ADAPTERS,
    BENCHMARKS,
    FACES,
    PAPER,
    PICTURES,
    broken,
    index_corpora,
)
from deepfake_repro.project.params import read_yaml
from support.benchmark_trees import celebdfpp, make

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    "celebdfpp",
    "dfd",
    "faceshifter",
    "dfdcp",
    "uadfv",
    "dfdm",
    "ffiw",
    "kodf",
    "polyglotfake",
    "idforge",
    "deepspeak",
]


def test_benchmarks_appear_only_when_mentioned(tmp_path):
    assert list(ADAPTERS) == [*PAPER, *BENCHMARKS, *FACES, *PICTURES]
    _, report = index_corpora({})
    assert list(report["corpus"]) == list(PAPER)
    root = make(tmp_path, "real/0000.mp4", "fake/0000_fake.mp4")
    index, report = index_corpora({"uadfv": root, "kodf": None})
    assert report["corpus"].tolist() == [*PAPER, "uadfv", "kodf"]
    assert report["notes"].tolist()[-2:] == ["", "not run: no root given"]
    assert index["video_id"].tolist() == ["uadfv/fake/0000_fake", "uadfv/real/0000"]


def test_no_benchmark_video_can_be_trained_on(tmp_path):
    """The third real is of the training split: it goes, and with it the pair of the fake that was
    made from it.
    """
    index, report = index_corpora({"celebdfpp": celebdfpp(tmp_path)})
    assert index["split"].tolist() == ["test"] * 4
    assert index["pair_key"].tolist().count("celebdfpp/Celeb-real/id0_0000") == 1
    assert set(index["pair_key"]) == {"", "celebdfpp/Celeb-real/id0_0000"}
    row = report.set_index("corpus").loc["celebdfpp"]
    assert (row["real"], row["fake"], row["notes"]) == (
        2,
        2,
        "3 videos of split train left out: for testing only",
    )


def test_benchmark_without_its_test_split(tmp_path):
    _, report = index_corpora({"celebdfpp": celebdfpp(tmp_path, listing="")})
    (line,) = broken(report)
    assert line.startswith("celebdfpp: none of its 7 videos is in the test split")


def test_rows_of_benchmarks_have_the_same_types_as_the_papers(tmp_path, faceshifter):
    index, _ = index_corpora(
        {"uadfv": make(tmp_path / "u", "real/0.mp4", "fake/0_fake.mp4"), "ffpp": faceshifter}
    )
    alone, _ = index_corpora({"ffpp": faceshifter})
    part = index[index["dataset"] == "ffpp"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, alone)


def official() -> dict[str, dict[str, tuple[int, int]]]:
    """Corpus -> split -> (real, fake), as the adapters' modules state them."""
    modules = {
        name: importlib.import_module(f"deepfake_repro.corpora.adapters.{name}").OFFICIAL
        for name in MODULES
    }
    return modules.pop("deepspeak") | modules


def test_official_counts_are_those_of_data_readme():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    table = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert set(official()) == set(BENCHMARKS)
    for corpus, splits in official().items():
        for real, fake in (counts for split, counts in splits.items() if split in ("test", "all")):
            assert f"{real:,} / {fake:,}" in table[corpus], corpus


def test_every_corpus_has_its_row_and_section_and_key():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert list(read_yaml(ROOT / "data" / "corpora" / "paper.yaml")["roots"]) == list(ADAPTERS)
    for corpus, adapter in ADAPTERS.items():
        assert f"\n| `{corpus}` |" in text, corpus
        assert any(
            f"`{corpus}`" in line for line in text.splitlines() if line.startswith("### ")
        ), corpus
        assert adapter.access_url in text, corpus
        assert adapter.licence and adapter.citation, corpus
