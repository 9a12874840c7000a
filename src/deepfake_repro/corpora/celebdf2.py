"""Celeb-DF v2 (Li et al. 2020): labels by folder, test split by list, everything else is training."""

from __future__ import annotations

from pathlib import Path

from .files import Tree, clips_in, descend, locate, names, need
from .schema import Adapter, IndexReport, Video

FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
LIST = "List_of_testing_videos.txt"


def testing_list(path: Path) -> list[tuple[str, str]]:
    """(folder, stem) of each listed test video, lower-case.

    The list's flag is inverted: 1 is real, 0 is fake. Labels come from the folder; a flag that disagrees with
    its folder, or a line of another shape, raises ``ValueError``.
    """
    labels = {folder.lower(): label for folder, label in FOLDERS.items()}
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        flag, _, name = line.strip().partition(" ")
        folder, stem = Path(name).parent.name.lower(), Path(name).stem.lower()
        if not line.strip():
            continue
        if flag not in ("0", "1") or folder not in labels:
            raise ValueError(f"celebdf2: '{path.name}' line {number} '{line}'; expected '1 YouTube-real/00170.mp4'")
        if 1 - int(flag) != labels[folder]:
            raise ValueError(f"celebdf2: '{path.name}' line {number} '{line}': flag and folder disagree (1 is real)")
        found.append((folder, stem))
    return found


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Official protocol: listed videos are test, the rest training; there is no validation split."""
    tree = locate("celebdf2", root, lambda folder: descend(folder, "Celeb-synthesis"), "Celeb-synthesis/")
    listed = set(testing_list(need(descend(tree.base, LIST), "celebdf2", LIST, "the test split")))
    clips = {(name.lower(), place.stem.lower()): (place, kind) for name in FOLDERS
             for place, kind in clips_in(descend(tree.base, name))}
    videos = [_video(tree, clips, key, "test" if key in listed else "train") for key in clips]
    missing = ("/".join(key) for key in listed - clips.keys())
    return videos, IndexReport("celebdf2", len(videos), names(missing))


def _video(tree: Tree, clips: dict[tuple[str, str], tuple[Path, str]], key: tuple[str, str], split: str) -> Video:
    place, kind = clips[key]
    folder, stem = key
    shared = (tree.video_id(place), tree.path(place), kind)
    if folder == "celeb-synthesis":
        target, source, recording = (stem.split("_") + ["", ""])[:3]
        pair = clips.get(("celeb-real", f"{target}_{recording}"))
        return Video(*shared, 1, "deepfake", "FS", "celebdf2", split, "official", "", target, source,
                     tree.video_id(pair[0]) if pair else "", target)
    target = stem.split("_")[0] if folder == "celeb-real" else f"youtube-{stem}"
    return Video(*shared, 0, "real", "REAL", "celebdf2", split, "official", target_id=target, group=target)


ADAPTER = Adapter("celebdf2", "Terms to Use Celeb-DF, non-commercial research; not redistributable",
                  "https://github.com/yuezunli/celeb-deepfakeforensics", "Li et al., CVPR 2020", read)
