"""Celeb-DF++ (Li et al. 2025), also Celeb-DF v3: the reals of Celeb-DF, 22 methods, test split by list.

Folders and numbers are its README's. From third parties: the old fakes' folder is also seen as
``Celeb-DF-v2``; talking faces are named ``<target>_<recording>_test_<reference>``. Not known:
whether the list's 1 means real, as in Celeb-DF v2. So labels come from the folder, and the flags
must separate reals from fakes, either way.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ..checks import remark
from ..files import Tree, clips_in, descend, folders, locate, names, need
from ..schema import Adapter, IndexReport, Video
from .celebdf2 import LIST

# 178 reals and 200, 200, 300 fakes per method but the first (340): README verified, sum confirmed
# in GenD issue 8.
OFFICIAL = {"test": (178, 5240)}
REALS, FAKES = ("Celeb-real", "YouTube-real"), "Celeb-synthesis"
FAMILIES = {
    "FaceSwap": "Celeb-DF BlendFace GHOST HifiFace InSwapper MobileFaceSwap SimSwap UniFace".lower().split(),
    "FaceReenact": "DaGAN FSRT HyperReenact LIA LivePortrait MCNET TPSMM".lower().split(),
    "TalkingFace": "AniTalker EchoMimic EDTalk FLOAT IP_LAP Real3DPortrait SadTalker".lower().split(),
}
FOLDERS = {name.lower(): "REAL" for name in REALS} | {
    method: "FS" if family == "FaceSwap" else "RE"
    for family, methods in FAMILIES.items()
    for method in methods
}
ALIASES = {"celeb-df-v2": "celeb-df"}
NAME = re.compile(
    r"(?P<target>id\d+)_(?:(?P<source>id\d+)_)?(?P<recording>\d+)(?:_test_(?P<reference>.+))?"
)

Key = tuple[str, str]  # folder and stem, lower-case


def testing_list(path: Path) -> tuple[set[Key], bool]:
    """Keys of the listed test videos, and whether its flag 1 means real; ``ValueError`` for a line that differs."""
    found, meanings = set(), set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        flag, _, name = line.strip().partition(" ")
        place = PurePosixPath(name.strip().replace("\\", "/"))
        if not line.strip():
            continue
        if flag not in ("0", "1") or _canonical(place.parent.name) not in FOLDERS:
            raise ValueError(
                f"celebdfpp: '{path.name}' line {number} '{line}'; expected '1 YouTube-real/00170.mp4'"
            )
        meanings.add((flag == "1") == (FOLDERS[_canonical(place.parent.name)] == "REAL"))
        if len(meanings) > 1:
            raise ValueError(
                f"celebdfpp: '{path.name}' line {number} '{line}': flag and folder disagree, "
                "other than on the lines before"
            )
        found.add((_canonical(place.parent.name), place.stem.lower()))
    return found, meanings != {False}


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Listed videos are test, the rest training, as in Celeb-DF v2; there is no validation split."""
    tree = locate(
        "celebdfpp",
        root,
        lambda folder: any(descend(folder, FAKES, family) for family in FAMILIES),
        f"{FAKES}/FaceSwap/ (Celeb-DF v2, without such folders, is the corpus celebdf2)",
    )
    listed, one_is_real = testing_list(
        need(descend(tree.base, LIST), "celebdfpp", LIST, "the test split")
    )
    clips, strange = _clips(tree)
    videos = [_video(tree, clips, key, "test" if key in listed else "train") for key in clips]
    notes = remark("folders or videos outside the 22 methods left out", strange)
    notes += remark(
        "names not like id0_id1_0000 or id0_0000_test_x: pairs left empty",
        (video.path for video in videos if video.label and not video.target_id),
    )
    notes += () if one_is_real else (f"1 means fake in '{LIST}', unlike in Celeb-DF v2",)
    return videos, IndexReport(
        "celebdfpp",
        len(videos),
        names("/".join(key) for key in listed - clips.keys()),
        names(strange),
        notes,
    )


def _canonical(folder: str) -> str:
    return ALIASES.get(folder.lower(), folder.lower())


def _clips(tree: Tree) -> tuple[dict[Key, tuple[Path, str]], list[str]]:
    """Key -> (place, kind), and what is none of the corpus."""
    places = [descend(tree.base, name) for name in REALS]
    strange = [place for place, _ in clips_in(descend(tree.base, FAKES))]
    for family in folders(descend(tree.base, FAKES)):
        methods = next(
            (methods for name, methods in FAMILIES.items() if name.lower() == family.name.lower()),
            [],
        )
        for folder in folders(family) if methods else [family]:
            (places if _canonical(folder.name) in methods else strange).append(folder)
    found: dict[Key, tuple[Path, str]] = {}
    for folder in filter(None, places):
        for place, kind in clips_in(folder):
            key = (_canonical(folder.name), place.stem.lower())
            if key in found:
                raise ValueError(
                    f"celebdfpp: '{tree.path(found[key][0])}' and '{tree.path(place)}' are one video; "
                    "remove one"
                )
            found[key] = (place, kind)
    return found, [tree.path(place) for place in strange]


def _video(tree: Tree, clips: dict[Key, tuple[Path, str]], key: Key, split: str) -> Video:
    (place, kind), (folder, stem) = clips[key], key
    own, category = tree.video_id(place), FOLDERS[folder]
    match = NAME.fullmatch(stem)
    target = match["target"] if match else f"youtube-{stem}" if folder == "youtube-real" else ""
    if category == "REAL":
        return Video(
            own,
            tree.path(place),
            kind,
            0,
            "real",
            "REAL",
            "celebdfpp",
            split,
            "official",
            target_id=target,
            group=target or own,
        )
    pair = clips.get(("celeb-real", f"{target}_{match['recording']}")) if match else None
    return Video(
        own,
        tree.path(place),
        kind,
        1,
        folder,
        category,
        "celebdfpp",
        split,
        "official",
        "",
        target,
        (match["source"] or match["reference"] or "") if match else "",
        tree.video_id(pair[0]) if pair else "",
        target or own,
    )


ADAPTER = Adapter(
    "celebdfpp",
    "Terms to Use Celeb-DF++, by form; not redistributable",
    "https://github.com/OUC-VAS/Celeb-DF-PP",
    "Li et al., arXiv:2507.18015",
    read,
    OFFICIAL,
)
