"""UADFV (Yang et al. 2019): 49 reals and a swap of each, test only; layout by third parties."""

from __future__ import annotations

from pathlib import Path

from ..checks import remark
from ..files import clips_in, descend, locate
from ..schema import Adapter, IndexReport, Official, Video

OFFICIAL: Official = {"test": (49, 49)}  # dataset tables of several papers agree
SUFFIX = "_fake"


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index ``real/0000.mp4`` and ``fake/0000_fake.mp4``: labels by folder, pairs by name."""
    tree = locate(
        "uadfv",
        root,
        lambda folder: descend(folder, "real") and descend(folder, "fake"),
        "real/ and fake/",
    )
    real_ids = {path.stem: tree.video_id(path) for path, _ in clips_in(descend(tree.base, "real"))}
    videos = []
    odd = []
    for label, folder in enumerate(("real", "fake")):
        for path, kind in clips_in(descend(tree.base, folder)):
            if path.stem.endswith(SUFFIX) != bool(label):
                odd.append(tree.path(path))
            number = path.stem.removesuffix(SUFFIX)
            videos.append(
                Video(
                    video_id=tree.video_id(path),
                    path=tree.path(path),
                    kind=kind,
                    label=label,
                    manipulation="unknown" if label else "real",
                    category="FS" if label else "REAL",
                    dataset="uadfv",
                    split="test",
                    split_source="derived",
                    target_id=number,
                    pair_key=real_ids.get(number, "") if label else "",
                    group=number,
                )
            )
    notes = remark(f"names that contradict their folder ('{SUFFIX}' marks fakes)", odd)
    return videos, IndexReport("uadfv", len(videos), notes=notes)


ADAPTER = Adapter(
    name="uadfv",
    licence="agreement form; not redistributable",
    access_url="",
    citation="Yang et al., ICASSP 2019, doi:10.1109/ICASSP.2019.8683164",
    read=read,
    official=OFFICIAL,
)
