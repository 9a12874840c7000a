"""FaceShifter (Li et al. 2020) as a benchmark of its own: FaceForensics++ restricted to one of its methods.

Which of its videos LNCLIP-DF scores is not known; here it is the official test split, 140 reals and
140 fakes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..files import descend, locate
from ..schema import Adapter, IndexReport, Video
from . import ffpp

OFFICIAL = {
    "train": (720, 720),
    "val": (140, 140),
    "test": (140, 140),
}  # verified: the authors' split lists
PLACES = ("original_sequences/", "manipulated_sequences/FaceShifter/")


def read(
    root: Path, compression: str = "c23", splits: Path | None = None
) -> tuple[list[Video], IndexReport]:
    """The reals and FaceShifter fakes that the adapter of FaceForensics++ finds, under ``faceshifter/``."""
    locate(
        "faceshifter", root, lambda folder: descend(folder, *PLACES[1].split("/")[:2]), PLACES[1]
    )
    videos, report = ffpp.read(root, compression, splits)
    kept = [_renamed(video) for video in videos if video.manipulation in ("real", "faceshifter")]
    if not any(video.label for video in kept):
        raise FileNotFoundError(
            f"faceshifter: no fakes in {PLACES[1]}{compression}/ under '{root}'; "
            "download them with FaceForensics++'s script"
        )
    return kept, IndexReport(
        "faceshifter", len(kept), _ours(report.metadata_only), _ours(report.disk_only)
    )


def _renamed(video: Video) -> Video:
    own, pair = (
        name and f"faceshifter/{name.partition('/')[2]}"
        for name in (video.video_id, video.pair_key)
    )
    return replace(video, video_id=own, pair_key=pair, dataset="faceshifter")


def _ours(found: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in found if any(place in name for place in PLACES))


ADAPTER = Adapter(
    "faceshifter",
    ffpp.ADAPTER.licence,
    ffpp.ADAPTER.access_url,
    "Li et al., CVPR 2020; distributed with Rössler et al., ICCV 2019",
    read,
    OFFICIAL,
)
