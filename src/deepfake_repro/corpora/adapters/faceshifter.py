"""FaceShifter (Li et al. 2020) as a benchmark of its own: one method of FaceForensics++.

Which of its videos LNCLIP-DF scores is not documented; here it is the official test split, 140
reals and 140 fakes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..files import descend, locate
from ..schema import Adapter, IndexReport, Official, Video
from . import ffpp

# From the authors' split lists.
OFFICIAL: Official = {
    "train": (720, 720),
    "val": (140, 140),
    "test": (140, 140),
}
REALS = "original_sequences/"
FAKES = "manipulated_sequences/FaceShifter/"


def read(
    root: Path, compression: str = "c23", splits: Path | None = None
) -> tuple[list[Video], IndexReport]:
    """Index the reals and FaceShifter fakes that the adapter of FaceForensics++ reads."""
    locate(
        "faceshifter",
        root,
        lambda folder: descend(folder, "manipulated_sequences", "FaceShifter"),
        FAKES,
    )
    videos, report = ffpp.read(root, compression, splits)
    kept = [_renamed(video) for video in videos if video.manipulation in ("real", "faceshifter")]
    if not any(video.label for video in kept):
        raise FileNotFoundError(
            f"faceshifter: no fakes in {FAKES}{compression}/ under '{root}'; "
            "download them with FaceForensics++'s script"
        )
    return kept, IndexReport(
        "faceshifter", len(kept), _own(report.metadata_only), _own(report.disk_only)
    )


def _renamed(video: Video) -> Video:
    return replace(
        video,
        video_id=_renamed_id(video.video_id),
        pair_key=_renamed_id(video.pair_key),
        dataset="faceshifter",
    )


def _renamed_id(video_id: str) -> str:
    return f"faceshifter/{video_id.partition('/')[2]}" if video_id else ""


def _own(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if REALS in name or FAKES in name)


ADAPTER = Adapter(
    name="faceshifter",
    licence=ffpp.ADAPTER.licence,
    access_url=ffpp.ADAPTER.access_url,
    citation="Li et al., CVPR 2020; distributed with Rössler et al., ICCV 2019",
    read=read,
    official=OFFICIAL,
)
