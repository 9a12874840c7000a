"""UADFV (Yang et al. 2019): 49 reals and a face swap of each, tested whole; known from third parties only."""

from __future__ import annotations

from pathlib import Path

from ..checks import remark
from ..files import clips_in, descend, locate
from ..schema import Adapter, IndexReport, Video

OFFICIAL = {"test": (49, 49)}  # third party: dataset tables of several papers agree
SUFFIX = "_fake"


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """``real/0000.mp4`` and ``fake/0000_fake.mp4``; the folder gives the label, the name only the pair."""
    tree = locate(
        "uadfv",
        root,
        lambda folder: descend(folder, "real") and descend(folder, "fake"),
        "real/ and fake/",
    )
    real_ids = {
        place.stem: tree.video_id(place) for place, _ in clips_in(descend(tree.base, "real"))
    }
    videos, odd = [], []
    for label, folder in enumerate(("real", "fake")):
        for place, kind in clips_in(descend(tree.base, folder)):
            if place.stem.endswith(SUFFIX) != bool(label):
                odd.append(tree.path(place))
            number = place.stem.removesuffix(SUFFIX)
            pair = real_ids.get(number, "") if label else ""
            videos.append(
                Video(
                    tree.video_id(place),
                    tree.path(place),
                    kind,
                    label,
                    "unknown" if label else "real",
                    "FS" if label else "REAL",
                    "uadfv",
                    "test",
                    "derived",
                    target_id=number,
                    pair_key=pair,
                    group=number,
                )
            )
    return videos, IndexReport(
        "uadfv",
        len(videos),
        notes=remark(f"names at odds with their folder ('{SUFFIX}' marks fakes)", odd),
    )


ADAPTER = Adapter(
    "uadfv",
    "agreement form; not redistributable",
    "",
    "Yang et al., ICASSP 2019, doi:10.1109/ICASSP.2019.8683164",
    read,
    OFFICIAL,
)
