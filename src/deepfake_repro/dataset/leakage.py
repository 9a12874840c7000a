"""What training and test videos share, counted from an index: facts to state beside a result, not to mend.

The standard protocols of the corpora are kept (Section 4.1); these facts say how independent their
test sets are.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ..corpora.adapters.ffpp import STRADDLING

COLUMNS = ("corpus", "fact", "count", "of", "detail")
LEARNED_FROM = ("train", "val", "test")
EXAMPLES = 5
# Folder names that mean the same videos in whatever corpus they occur: Celeb-DF's reals and fakes
# also serve DF40 and Celeb-DF++.
SHARED_FOLDERS = ("celeb-real", "youtube-real", "celeb-synthesis")
LEVELS = ("videos", "frames")

Fact = tuple[str, str, int, int, str]


def leakage(index: pd.DataFrame) -> pd.DataFrame:
    """Facts about what splits and corpora of an index table share: a row each with ``COLUMNS``.

    ``count`` of ``of`` are concerned; ``detail`` says where, or names the first few. Facts: FF++
    sequences of one source in two splits; test fakes whose real counterpart is outside the test
    split (on Celeb-DF's official list 234 of 340); groups and identities in several splits; videos
    listed in several corpora.
    """
    index = index[index["split"].isin(LEARNED_FROM)]
    facts: list[Fact] = []
    for corpus, videos in index.groupby("dataset", sort=True):
        facts += [
            *_same_source(corpus, videos),
            *_parted(corpus, videos),
            *_straddling(corpus, videos),
        ]
    return pd.DataFrame([*facts, *_listed_twice(index)], columns=list(COLUMNS))


def _same_source(corpus: str, videos: pd.DataFrame) -> Iterator[Fact]:
    if corpus != "ffpp":
        return
    reals = videos[videos["label"] == 0]
    split = dict(zip(reals["target_id"], reals["split"], strict=True))
    pairs = [pair for pair in STRADDLING if split.keys() >= set(pair)]
    apart = [f"{a} {split[a]}, {b} {split[b]}" for a, b in pairs if split[a] != split[b]]
    yield (
        corpus,
        "known pairs of sequences from one YouTube video in two splits",
        len(apart),
        len(pairs),
        "; ".join(apart),
    )


def _parted(corpus: str, videos: pd.DataFrame) -> Iterator[Fact]:
    """Test fakes by the split of the real they were made from, where the corpus names one."""
    fakes = videos[(videos["split"] == "test") & (videos["label"] == 1)]
    split = fakes["pair_key"].map(videos.set_index("video_id")["split"])
    if split.isna().all():
        return
    where = split.map("in {}".format, na_action="ignore").fillna("not indexed")
    detail = ", ".join(
        f"{count} {place}" for place, count in where.value_counts().sort_index().items()
    )
    yield (
        corpus,
        "test fakes whose real counterpart is outside the test split",
        int((split != "test").sum()),
        len(fakes),
        detail,
    )


def _straddling(corpus: str, videos: pd.DataFrame) -> Iterator[Fact]:
    if videos["split"].nunique() < 2:
        return
    people = pd.concat(
        [
            videos[["split", column]].set_axis(["split", "name"], axis=1)
            for column in ("target_id", "source_id")
        ]
    )
    for what, table in (
        ("groups", videos[["split", "group"]].set_axis(["split", "name"], axis=1)),
        ("identities (target or donor)", people),
    ):
        splits = table[table["name"] != ""].drop_duplicates().groupby("name")["split"].agg(sorted)
        several = splits[splits.str.len() > 1]
        if len(splits):
            yield corpus, f"{what} in several splits", len(several), len(splits), _examples(several)


def _examples(splits: pd.Series) -> str:
    shown = [f"{name} ({', '.join(where)})" for name, where in splits.head(EXAMPLES).items()]
    return "; ".join([*shown, "…"] if len(splits) > EXAMPLES else shown)


def _listed_twice(index: pd.DataFrame) -> Iterator[Fact]:
    """Videos of official folders that two corpora list, by the splits they have in either."""
    keys = index["video_id"].map(_official_name)
    named = index.assign(key=keys)[keys != ""]
    both = named.merge(named, on="key", suffixes=("", "_other"))
    both = both[both["dataset"] > both["dataset_other"]]
    for (corpus, other, split, split_other), shared in both.groupby(
        ["dataset", "dataset_other", "split", "split_other"]
    ):
        total = int(((index["dataset"] == corpus) & (index["split"] == split)).sum())
        yield (
            corpus,
            f"{split} videos that {other} lists as {split_other}",
            len(shared),
            total,
            f"{int((shared['label'] == 0).sum())} of them real",
        )


def _official_name(video_id: str) -> str:
    """``celeb-real/id0_0000`` of a video in one of ``SHARED_FOLDERS``, else empty."""
    parts = [part for part in video_id.lower().split("/") if part not in LEVELS]
    return "/".join(parts[-2:]) if len(parts) > 1 and parts[-2] in SHARED_FOLDERS else ""
