"""Celeb-DF++ (Li et al. 2025), or Celeb-DF v3: Celeb-DF's reals, 22 methods, test split by list.

Folders and numbers are those of its README. From third parties: the folder of the old fakes is also
called ``Celeb-DF-v2``; talking faces are named ``<target>_<recording>_test_<reference>``. It is not
documented whether the list's 1 means real, as in Celeb-DF v2. So labels come from the folder, and
the flags must separate reals from fakes, either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..checks import remark
from ..files import Tree, clips_in, descend, folders, locate, names, read_text, require
from ..schema import Adapter, IndexReport, Official, Video
from .celebdf2 import LIST, Key

# 178 reals; 340 fakes of the first method, 200 or 300 of each other (README; sum confirmed in GenD
# issue 8).
OFFICIAL: Official = {"test": (178, 5240)}
REALS = ("Celeb-real", "YouTube-real")
FAKES = "Celeb-synthesis"
FAMILIES = {
    "FaceSwap": (
        "celeb-df",
        "blendface",
        "ghost",
        "hififace",
        "inswapper",
        "mobilefaceswap",
        "simswap",
        "uniface",
    ),
    "FaceReenact": (
        "dagan",
        "fsrt",
        "hyperreenact",
        "lia",
        "liveportrait",
        "mcnet",
        "tpsmm",
    ),
    "TalkingFace": (
        "anitalker",
        "echomimic",
        "edtalk",
        "float",
        "ip_lap",
        "real3dportrait",
        "sadtalker",
    ),
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

Clip = tuple[Path, str]  # path and kind


def testing_list(path: Path) -> tuple[set[Key], bool]:
    """Return the keys of the listed test videos, and whether flag 1 means real.

    Raises ``ValueError`` for a line of another shape or one whose flag means the opposite.
    """
    keys: set[Key] = set()
    meanings: set[bool] = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        flag, _, name = line.strip().partition(" ")
        video = PurePosixPath(name.strip().replace("\\", "/"))
        folder = _canonical(video.parent.name)
        where = f"celebdfpp: '{path.name}' line {number} '{line}'"
        if flag not in ("0", "1") or folder not in FOLDERS:
            raise ValueError(f"{where}; expected '1 YouTube-real/00170.mp4'")
        meanings.add((flag == "1") == (FOLDERS[folder] == "REAL"))
        if len(meanings) > 1:
            raise ValueError(
                f"{where}: flag and folder disagree, unlike in the lines before; "
                "restore the official list"
            )
        keys.add((folder, video.stem.lower()))
    return keys, meanings != {False}


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index listed videos as test, the rest as training, as in Celeb-DF v2; no validation split."""
    tree = locate(
        "celebdfpp",
        root,
        lambda folder: any(descend(folder, FAKES, family) for family in FAMILIES),
        f"{FAKES}/FaceSwap/ (Celeb-DF v2, without such folders, is the corpus celebdf2)",
    )
    listing = require(descend(tree.base, LIST), "celebdfpp", LIST, "the test split")
    listed, one_is_real = testing_list(listing)
    clips, strange = _clips(tree)
    videos = [_video(tree, clips, key, "test" if key in listed else "train") for key in clips]
    notes = remark("folders or videos outside the 22 methods left out", strange)
    notes += remark(
        "names not like id0_id1_0000 or id0_0000_test_x: pairs left empty",
        (video.path for video in videos if video.label and not video.target_id),
    )
    if not one_is_real:
        notes += (f"1 means fake in '{LIST}', unlike in Celeb-DF v2",)
    return videos, IndexReport(
        "celebdfpp",
        len(videos),
        names("/".join(key) for key in listed - clips.keys()),
        names(strange),
        notes,
    )


def _canonical(folder: str) -> str:
    return ALIASES.get(folder.lower(), folder.lower())


def _clips(tree: Tree) -> tuple[dict[Key, Clip], list[str]]:
    """Return the clips by key, and the paths that are not part of the corpus."""
    official, strange = _folders(tree)
    clips: dict[Key, Clip] = {}
    for folder in official:
        for path, kind in clips_in(folder):
            key = (_canonical(folder.name), path.stem.lower())
            if key in clips:
                raise ValueError(
                    f"celebdfpp: '{tree.path(clips[key][0])}' and '{tree.path(path)}' "
                    "are one video; remove one"
                )
            clips[key] = (path, kind)
    return clips, [tree.path(path) for path in strange]


def _folders(tree: Tree) -> tuple[list[Path], list[Path]]:
    """Return the official folders, and what else is among the fakes."""
    candidates = (descend(tree.base, name) for name in REALS)
    official = [folder for folder in candidates if folder]
    strange = [path for path, _ in clips_in(descend(tree.base, FAKES))]
    methods_of = {family.lower(): methods for family, methods in FAMILIES.items()}
    for family in folders(descend(tree.base, FAKES)):
        methods = methods_of.get(family.name.lower())
        if methods is None:
            strange.append(family)
            continue
        for folder in folders(family):
            (official if _canonical(folder.name) in methods else strange).append(folder)
    return official, strange


def _video(tree: Tree, clips: Mapping[Key, Clip], key: Key, split: str) -> Video:
    path, kind = clips[key]
    folder, stem = key
    video_id = tree.video_id(path)
    category = FOLDERS[folder]
    fake = category != "REAL"
    target = source = pair_key = ""
    match = NAME.fullmatch(stem)
    if match:
        target = match["target"]
    elif folder == "youtube-real":
        target = f"youtube-{stem}"
    if match and fake:
        source = match["source"] or match["reference"] or ""
        pair = clips.get(("celeb-real", f"{target}_{match['recording']}"))
        pair_key = tree.video_id(pair[0]) if pair else ""
    return Video(
        video_id=video_id,
        path=tree.path(path),
        kind=kind,
        label=int(fake),
        manipulation=folder if fake else "real",
        category=category,
        dataset="celebdfpp",
        split=split,
        split_source="official",
        target_id=target,
        source_id=source,
        pair_key=pair_key,
        group=target or video_id,
    )


ADAPTER = Adapter(
    name="celebdfpp",
    licence="Terms to Use Celeb-DF++, by form; not redistributable",
    access_url="https://github.com/OUC-VAS/Celeb-DF-PP",
    citation="Li et al., arXiv:2507.18015",
    read=read,
    official=OFFICIAL,
)
