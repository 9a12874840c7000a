"""FFIW-10K (Zhou et al. 2021): ``source`` holds the reals, ``target`` the swaps, splits by folder.

From third parties: the ``test`` folder (the README shows train and val only) and all counts. Stems
repeat in ``source`` and ``target``, but nothing says that equal stems show one scene: no fake is
given a real. Videos show several people and only one face may be fake, so a fake video has real
faces too.
"""

from __future__ import annotations

from pathlib import Path

from ..checks import remark
from ..files import Tree, clips_in, descend, folders, locate, names, videos_below
from ..schema import Adapter, IndexReport, Video

OFFICIAL = {
    "train": (8000, 8000),
    "val": (250, 250),
    "test": (1738, 1738),
}  # third party: dfwb's dataset card
FOLDERS = {"source": 0, "target": 1}
SPLITS = ("train", "val", "test")


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """All splits on disk; where ``test`` is absent, ``val`` is the test set, as SBI scores it (noted).

    The releases with train and val, and with test, may lie beside each other as they are unpacked.
    """
    tree = locate("ffiw", root, _releases, "source/ and target/ with train/, val/ or test/")
    trees = [Tree("ffiw", root, base) for base in _releases(tree.base)]
    found = [
        (tree, name, split, *clip)
        for tree in trees
        for name in FOLDERS
        for split in SPLITS
        for clip in clips_in(descend(tree.base, name, split))
    ]
    has_test = any(split == "test" for _, _, split, *_ in found)
    videos = [_video(*clip, has_test) for clip in found]
    indexed = {video.path for video in videos}
    loose = names(
        tree.path(place)
        for tree in trees
        for name in FOLDERS
        for place in videos_below(descend(tree.base, name))
        if tree.path(place) not in indexed
    )
    notes = remark("videos outside train/, val/ and test/ left out", loose)
    notes += () if has_test else ("test/ is absent: val/ is taken for the test set",)
    return videos, IndexReport("ffiw", len(videos), disk_only=loose, notes=notes)


def _releases(folder: Path) -> list[Path]:
    return (
        [folder]
        if _is_release(folder)
        else [place for place in folders(folder) if _is_release(place)]
    )


def _is_release(folder: Path) -> bool:
    return all(any(descend(folder, name, split) for split in SPLITS) for name in FOLDERS)


def _video(tree: Tree, name: str, folder: str, place: Path, kind: str, has_test: bool) -> Video:
    label = FOLDERS[name]
    split, source = (folder, "official") if has_test or folder != "val" else ("test", "paper-rule")
    return Video(
        tree.video_id(place),
        tree.path(place),
        kind,
        label,
        "unknown" if label else "real",
        "FS" if label else "REAL",
        "ffiw",
        split,
        source,
        group=f"{folder}/{place.stem}",
    )


ADAPTER = Adapter(
    "ffiw",
    "Terms to Use form; not redistributable",
    "https://github.com/tfzhou/FFIW",
    "Zhou et al., CVPR 2021",
    read,
    OFFICIAL,
)
