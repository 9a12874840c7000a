"""FFIW-10K (Zhou et al. 2021): ``source`` has the reals, ``target`` the swaps; splits by folder.

From third parties: the ``test`` folder (the README shows train and val only) and all counts. Stems
repeat in ``source`` and ``target``, but no document says that equal stems show one scene, so fakes
have no pairs. Videos show several people, of whom only one may be fake: a fake video has real faces
too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..checks import remark
from ..files import Tree, clips_in, descend, folders, locate, names, usable, videos_below
from ..schema import Adapter, IndexReport, Official, Video

# From dfwb's dataset card.
OFFICIAL: Official = {
    "train": (8000, 8000),
    "val": (250, 250),
    "test": (1738, 1738),
}
FOLDERS = {"source": 0, "target": 1}
SPLITS = ("train", "val", "test")


class Clip(NamedTuple):
    """One video or face sequence, in the folder of ``split``."""

    tree: Tree
    label: int
    split: str
    path: Path
    kind: str


def read(root: Path, masks: bool = False) -> tuple[list[Video], IndexReport]:
    """Index all splits on disk; without ``test``, ``val`` is the test set, as SBI scores it.

    ``masks``: ``attrs`` of a fake name the video of its forged faces in ``target_mask/``, so that
    only these are cropped; a note counts the fakes without one.
    The releases with train and val, and with test, may be unpacked beside each other.
    """
    tree = locate("ffiw", root, _releases, "source/ and target/ with train/, val/ or test/")
    trees = [Tree("ffiw", root, base) for base in _releases(tree.base)]
    clips = [clip for tree in trees for clip in _clips(tree)]
    has_test = any(clip.split == "test" for clip in clips)
    videos = [_video(clip, has_test, masks) for clip in clips]
    indexed = {video.path for video in videos}
    paths = [
        tree.path(path)
        for tree in trees
        for name in FOLDERS
        for path in videos_below(descend(tree.base, name))
    ]
    loose = names(path for path in paths if path not in indexed)
    notes = remark("videos outside train/, val/ and test/ left out", loose)
    if masks:
        without = [video.path for video in videos if video.label and video.attrs == "{}"]
        notes += remark("fakes without a mask, of which all faces count as fake", without)
    if not has_test:
        notes += ("test/ is absent: val/ is taken for the test set",)
    return videos, IndexReport("ffiw", len(videos), disk_only=loose, notes=notes)


def _releases(folder: Path) -> list[Path]:
    if _is_release(folder):
        return [folder]
    return [inner for inner in folders(folder) if _is_release(inner)]


def _is_release(folder: Path) -> bool:
    return all(any(descend(folder, name, split) for split in SPLITS) for name in FOLDERS)


def _clips(tree: Tree) -> list[Clip]:
    return [
        Clip(tree, label, split, path, kind)
        for name, label in FOLDERS.items()
        for split in SPLITS
        for path, kind in clips_in(descend(tree.base, name, split))
    ]


def _mask(clip: Clip) -> Path | None:
    """Return the video of a fake's forged faces; None if there is none."""
    folder = descend(clip.tree.base, "target_mask", clip.split)
    mask = descend(folder, clip.path.name) if folder and clip.label else None
    return mask if mask and usable(mask) else None


def _video(clip: Clip, has_test: bool, masks: bool) -> Video:
    mask = _mask(clip) if masks else None
    val_is_test = clip.split == "val" and not has_test
    return Video(
        video_id=clip.tree.video_id(clip.path),
        path=clip.tree.path(clip.path),
        kind=clip.kind,
        label=clip.label,
        manipulation="unknown" if clip.label else "real",
        category="FS" if clip.label else "REAL",
        dataset="ffiw",
        split="test" if val_is_test else clip.split,
        split_source="paper-rule" if val_is_test else "official",
        group=f"{clip.split}/{clip.path.stem}",
        attrs=json.dumps({"mask": clip.tree.path(mask)} if mask else {}),
    )


ADAPTER = Adapter(
    name="ffiw",
    licence="Terms to Use form; not redistributable",
    access_url="https://github.com/tfzhou/FFIW",
    citation="Zhou et al., CVPR 2021",
    read=read,
    official=OFFICIAL,
)
