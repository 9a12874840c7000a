"""Paired real and fake crops of one source video (LNCLIP-DF's first finding).

The second paper calls training data *paired* when every fake's source video is among the reals:
what differs between the two is then the manipulation and not the person, camera or scene. In its
code that is a property of the list of videos (:func:`chosen_sources`); here it can be one of each
batch as well (:class:`PairedBatches`).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pandas as pd

from ...training.loading import GlobalBatches

SOURCES = ("all", "same_half", "other_half")


def source_videos(rows: pd.DataFrame, index: pd.DataFrame) -> np.ndarray:
    """Source video of each crop, strings ``[N]``: the real that a fake was made from, else the crop's own video.

    ``rows`` has ``video_id``; ``index`` has ``video_id`` and ``pair_key`` (empty where the corpus
    names none). Raises ``ValueError`` for a crop whose video the index does not list.
    """
    keys = index.set_index("video_id")["pair_key"].reindex(rows["video_id"])
    if keys.isna().any():
        raise ValueError(
            f"video {keys.index[keys.isna()][0]} of the sample is not in the index: run the stage sample"
        )
    return np.where(keys == "", keys.index, keys).astype(str)


def chosen_sources(labels: np.ndarray, sources: np.ndarray, which: str, seed: int) -> np.ndarray:
    """Which crops to train on, bool ``[N]``, to compare paired with unpaired lists of equal size.

    ``all``: every crop. The other two split the source videos in halves (a function of ``seed``) and keep the
    reals of the first; ``same_half`` keeps its fakes too, ``other_half`` the fakes of the second, none of whose
    sources is then among the reals. Videos with reals only, fakes only and both are halved separately.
    """
    if which not in SOURCES:
        raise ValueError(f"lnclip.sources is {which!r}; known: {', '.join(SOURCES)}")
    if which == "all":
        return np.ones(len(labels), dtype=bool)
    table = (
        pd.DataFrame({"source": sources, "label": labels})
        .groupby("source")["label"]
        .agg(["min", "max"])
    )
    salted = [
        blake2b(f"{seed}\0{name}".encode(), digest_size=8).hexdigest() for name in table.index
    ]
    half = table.assign(order=salted).sort_values("order").groupby(["min", "max"]).cumcount() % 2
    wanted = (labels == 1) & (which == "other_half")
    return half.reindex(sources).to_numpy() == wanted


def paired_order(labels: np.ndarray, sources: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A random permutation int64 ``[N]`` in which real and fake of one source stand together, the real first.

    Places 0 and 1, 2 and 3 … hold a pair, as many as reals and fakes of each source allow. What is
    left over is put together as real and fake of different sources, and last, where one class has
    more crops, as it is.
    """
    order = draw.permutation(len(labels))
    table = pd.DataFrame({"source": sources[order], "label": labels[order], "crop": order})
    table["rank"] = table.groupby(["source", "label"]).cumcount()
    paired = table.groupby(["source", "rank"])["label"].transform("size") == 2
    pairs = table[paired].sort_values(["source", "rank", "label"])
    rest = (
        table[~paired]
        .assign(rank=lambda part: part.groupby("label").cumcount())
        .sort_values(["rank", "label"])
    )
    sequence = np.concatenate([pairs["crop"], rest["crop"]]).astype(np.int64)
    twos, odd = np.split(sequence, [len(sequence) // 2 * 2])
    return np.concatenate([draw.permutation(twos.reshape(-1, 2)).ravel(), odd])


class PairedBatches(GlobalBatches):
    """Batches whose places 0 and 1, 2 and 3 … hold real and fake of one source; ``paired=False`` shuffles plainly.

    Raises ``ValueError`` for an odd batch size when paired: a pair would be torn.
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
        self.labels, self.sources, self.paired = np.asarray(labels), np.asarray(sources), paired

    def order(self) -> np.ndarray:
        """See ``GlobalBatches``."""
        draw = np.random.default_rng([self.seed, self.epoch])
        return (
            paired_order(self.labels, self.sources, draw)
            if self.paired
            else draw.permutation(self.size)
        )
