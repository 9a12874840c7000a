"""Count what training and test videos share.

The standard protocols of the corpora are kept (Section 4.1); the counts say how independent their
test sets are and belong beside a result.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ..corpora.adapters.ffpp import STRADDLING

COLUMNS = ("corpus", "fact", "count", "of", "detail")
LEARNED_FROM = ("train", "val", "test")
EXAMPLES = 5
SHARED_FOLDERS = ("celeb-real", "youtube-real", "celeb-synthesis")
"""Folders with the same videos in several corpora: DF40 and Celeb-DF++ reuse Celeb-DF's."""
LEVELS = ("videos", "frames")

Fact = tuple[str, str, int, int, str]
"""One row with ``COLUMNS``."""


def leakage(index: pd.DataFrame) -> pd.DataFrame:
    """Count what the splits and corpora of an index share; the columns are ``COLUMNS``.

    Each row concerns ``count`` of ``of``, and ``detail`` says where or lists the first few. Rows:
    FF++ sequences of one source in two splits; test fakes whose real counterpart is outside the
    test split (on Celeb-DF's official list 234 of 340); groups and identities in several splits;
    videos listed in several corpora.
    """
    index = index[index["split"].isin(LEARNED_FROM)]
    facts: list[Fact] = []
    for corpus, videos in index.groupby("dataset", sort=True):
        facts += [
            *_same_source(corpus, videos),
            *_separated_pairs(corpus, videos),
            *_in_several_splits(corpus, videos),
        ]
    facts += _in_two_corpora(index)
    return pd.DataFrame(facts, columns=list(COLUMNS))


def _same_source(corpus: str, videos: pd.DataFrame) -> Iterator[Fact]:
    """Count FF++ sequences of one YouTube video in two splits."""
    if corpus != "ffpp":
        return
    reals = videos[videos["label"] == 0]
    split = dict(zip(reals["target_id"], reals["split"], strict=True))
    pairs = [pair for pair in STRADDLING if split.keys() >= set(pair)]
    separated = [
        f"{first} {split[first]}, {second} {split[second]}"
        for first, second in pairs
        if split[first] != split[second]
    ]
    yield (
        corpus,
        "known pairs of sequences from one YouTube video in two splits",
        len(separated),
        len(pairs),
        "; ".join(separated),
    )


def _separated_pairs(corpus: str, videos: pd.DataFrame) -> Iterator[Fact]:
    """Count test fakes by the split of the real that they were made from, if the corpus says it."""
    fakes = videos[(videos["split"] == "test") & (videos["label"] == 1)]
    split = fakes["pair_key"].map(videos.set_index("video_id")["split"])
    if split.isna().all():
        return
    location = split.map("in {}".format, na_action="ignore").fillna("not indexed")
    counts = location.value_counts().sort_index()
    detail = ", ".join(f"{count} {name}" for name, count in counts.items())
    yield (
        corpus,
        "test fakes whose real counterpart is outside the test split",
        int((split != "test").sum()),
        len(fakes),
        detail,
    )


def _in_several_splits(corpus: str, videos: pd.DataFrame) -> Iterator[Fact]:
    """Count groups and identities that occur in more than one split."""
    if videos["split"].nunique() < 2:
        return
    groups = _split_and_name(videos, "group")
    targets = _split_and_name(videos, "target_id")
    donors = _split_and_name(videos, "source_id")
    for what, table in (
        ("groups", groups),
        ("identities (target or donor)", pd.concat([targets, donors])),
    ):
        splits = table[table["name"] != ""].drop_duplicates().groupby("name")["split"].agg(sorted)
        several = splits[splits.str.len() > 1]
        if len(splits):
            yield corpus, f"{what} in several splits", len(several), len(splits), _examples(several)


def _split_and_name(videos: pd.DataFrame, column: str) -> pd.DataFrame:
    return videos[["split", column]].set_axis(["split", "name"], axis=1)


def _examples(splits: pd.Series) -> str:
    examples = [f"{name} ({', '.join(names)})" for name, names in splits.head(EXAMPLES).items()]
    if len(splits) > EXAMPLES:
        examples.append("…")
    return "; ".join(examples)


def _in_two_corpora(index: pd.DataFrame) -> Iterator[Fact]:
    """Count videos of ``SHARED_FOLDERS`` that two corpora list, by their splits in both."""
    keys = index["video_id"].map(_official_name)
    named = index.assign(key=keys)[keys != ""]
    pairs = named.merge(named, on="key", suffixes=("", "_other"))
    pairs = pairs[pairs["dataset"] > pairs["dataset_other"]]
    keys_of_pairs = ["dataset", "dataset_other", "split", "split_other"]
    for (corpus, other, split, split_other), shared in pairs.groupby(keys_of_pairs):
        total = int(((index["dataset"] == corpus) & (index["split"] == split)).sum())
        yield (
            corpus,
            f"{split} videos that {other} lists as {split_other}",
            len(shared),
            total,
            f"{(shared['label'] == 0).sum()} of them real",
        )


def _official_name(video_id: str) -> str:
    """Return ``celeb-real/id0_0000`` for a video in one of ``SHARED_FOLDERS``, else empty."""
    parts = [part for part in video_id.lower().split("/") if part not in LEVELS]
    return "/".join(parts[-2:]) if len(parts) > 1 and parts[-2] in SHARED_FOLDERS else ""
