"""Paired real and fake crops of one source video (LNCLIP-DF's first finding).

The second paper calls training data *paired* when every fake's source video is among the reals: the
two then differ by the manipulation and not by person, camera or scene. In its code this is a
property of the list of videos (:func:`choose_sources`); here it can also be one of each batch
(:class:`PairedBatches`).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pandas as pd

from ...training.loading import GlobalBatches

SOURCES = ("all", "same_half", "other_half")


def source_videos(rows: pd.DataFrame, index: pd.DataFrame) -> np.ndarray:
    """Find the source video of each crop, strings ``[N]``: a fake's real, else its own video.

    ``rows`` has ``video_id``; ``index`` has ``video_id`` and ``pair_key`` (empty where the corpus
    names none). Raises ``ValueError`` for a crop whose video the index does not list.
    """
    keys = index.set_index("video_id")["pair_key"].reindex(rows["video_id"])
    if keys.isna().any():
        video = keys.index[keys.isna()][0]
        raise ValueError(f"video {video} of the sample is not in the index: run the stage sample")
    return np.where(keys == "", keys.index, keys).astype(str)


def choose_sources(labels: np.ndarray, sources: np.ndarray, which: str, seed: int) -> np.ndarray:
    """Choose the crops to train on, bool ``[N]``: paired and unpaired lists of equal size.

    ``all``: every crop. The other two split the source videos into halves (a function of ``seed``)
    and keep the reals of the first; ``same_half`` keeps its fakes too, ``other_half`` the fakes of
    the second half, none of whose sources is among the reals. Videos with reals only, with fakes
    only and with both are halved separately.
    """
    if which not in SOURCES:
        raise ValueError(f"lnclip.sources is {which!r}; known: {', '.join(SOURCES)}")
    if which == "all":
        return np.ones(len(labels), dtype=bool)
    crops = pd.DataFrame({"source": sources, "label": labels})
    videos = crops.groupby("source")["label"].agg(["min", "max"])
    hashes = [
        blake2b(f"{seed}\0{name}".encode(), digest_size=8).hexdigest() for name in videos.index
    ]
    shuffled = videos.assign(order=hashes).sort_values("order")
    half = shuffled.groupby(["min", "max"]).cumcount() % 2
    wanted = (labels == 1) & (which == "other_half")
    return half.reindex(sources).to_numpy() == wanted


def paired_order(
    labels: np.ndarray, sources: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Draw a permutation int64 ``[N]`` in which real and fake of one source are neighbours.

    Positions 0 and 1, 2 and 3, … contain a pair, the real first, as many as the reals and fakes of
    each source allow. The remaining crops are paired across sources; where one class has more crops
    than the other, its rest comes last.
    """
    order = generator.permutation(len(labels))
    table = pd.DataFrame({"source": sources[order], "label": labels[order], "crop": order})
    table["rank"] = table.groupby(["source", "label"]).cumcount()
    paired = table.groupby(["source", "rank"])["label"].transform("size") == 2
    pairs = table[paired].sort_values(["source", "rank", "label"])
    rest = table[~paired]
    rest = rest.assign(rank=rest.groupby("label").cumcount()).sort_values(["rank", "label"])
    sequence = np.concatenate([pairs["crop"], rest["crop"]]).astype(np.int64)
    even, odd = np.split(sequence, [len(sequence) // 2 * 2])
    return np.concatenate([generator.permutation(even.reshape(-1, 2)).ravel(), odd])


class PairedBatches(GlobalBatches):
    """Batches in which positions 0 and 1, 2 and 3, … are real and fake of one source.

    ``paired=False`` shuffles all crops instead. Raises ``ValueError`` for paired batches of odd
    size, which would split a pair.
    """

    def __init__(
        self,
        labels: np.ndarray,
        sources: np.ndarray,
        batch_size: int,
        *,
        paired: bool,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if paired and batch_size % 2:
            raise ValueError(
                f"lnclip.batch_size is {batch_size}: give an even number for paired batches"
            )
        super().__init__(len(labels), batch_size, seed, rank, world)
        self.labels = np.asarray(labels)
        self.sources = np.asarray(sources)
        self.paired = paired

    def order(self) -> np.ndarray:
        """Order all crops for ``epoch``, int64 ``[size]``."""
        generator = np.random.default_rng([self.seed, self.epoch])
        if self.paired:
            return paired_order(self.labels, self.sources, generator)
        return generator.permutation(self.size)
