"""FaceForensics++ (Rössler et al. 2019): five methods, one or all compressions, splits of pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..files import Tree, clips_in, descend, locate, names, read_json, require
from ..schema import Adapter, IndexReport, Official, Video

METHODS = {
    "deepfakes": ("Deepfakes", "FS"),
    "face2face": ("Face2Face", "RE"),
    "faceswap": ("FaceSwap", "FS"),
    "neuraltextures": ("NeuralTextures", "RE"),
    "faceshifter": ("FaceShifter", "FS"),
}
# The download script says raw; the extraction script and some copies say c0.
COMPRESSIONS = {"raw": ("raw", "c0"), "c23": ("c23",), "c40": ("c40",)}
# At one compression.
OFFICIAL: Official = {
    "train": (720, 3_600),
    "val": (140, 700),
    "test": (140, 700),
}
# Sequences cut from one YouTube video that the official splits separate (by the authors'
# conversion_dict.json).
STRADDLING = (
    ("605", "606"),
    ("639", "640"),
    ("755", "756"),
    ("837", "838"),
    ("875", "876"),
    ("954", "955"),
    ("982", "983"),
)


class Listed(NamedTuple):
    """What the split lists say about a real or fake; ``group`` is the pair that it belongs to."""

    split: str
    group: str


def read(
    root: Path, compression: str = "c23", splits: Path | None = None
) -> tuple[list[Video], IndexReport]:
    """Index the reals and both directions of each pair.

    A pair ``[a, b]`` of a split list means the reals a and b and the fakes ``a_b`` and ``b_a``.
    ``compression`` is raw, c23, c40, or ``all`` that are on disk. The lists
    ``train|val|test.json`` are read from ``splits`` if given (a clone of the authors' repository),
    else from ``splits/``, ``dataset/splits/`` or the root itself. If ``conversion_dict.json`` is
    beside them or one folder above, ``attrs`` name the YouTube video of the target.
    """
    if compression not in (*COMPRESSIONS, "all"):
        raise ValueError(
            f"ffpp: compression '{compression}' is not one of {', '.join(COMPRESSIONS)}, all"
        )
    tree = locate(
        "ffpp", root, lambda folder: descend(folder, "original_sequences"), "original_sequences/"
    )
    lists = _lists(tree.base, splits)
    listed = _listed(lists)
    youtube = _youtube(lists, lists if lists == tree.base else lists.parent)
    videos: list[Video] = []
    missing: list[str] = []
    unlisted: list[str] = []
    for level in COMPRESSIONS if compression == "all" else (compression,):
        clips = _clips(tree.base, level)
        if compression == "all" and not any(clips.values()):
            continue
        for method, paths in clips.items():
            stems = {stem for stem in listed if ("_" in stem) == (method != "real")}
            missing += [f"{method}/{level}/{stem}" for stem in stems - paths.keys()]
            unlisted += [tree.path(paths[stem]) for stem in paths.keys() - stems]
            videos += [
                _video(tree, paths[stem], method, level, listed[stem], clips["real"], youtube)
                for stem in stems & paths.keys()
            ]
    return videos, IndexReport("ffpp", len(videos), names(missing), names(unlisted), _leaks(videos))


def _lists(base: Path, splits: Path | None) -> Path:
    """Return the folder of the split lists."""
    if splits:
        return Path(splits)
    return descend(base, "splits") or descend(base, "dataset", "splits") or base


def _clips(base: Path, level: str) -> dict[str, dict[str, Path]]:
    """Map each method to its paths by stem, from the first folder of the level that has clips."""
    clips: dict[str, dict[str, Path]] = {}
    for method, (name, _) in {"real": ("youtube", "REAL"), **METHODS}.items():
        parent = "original_sequences" if method == "real" else "manipulated_sequences"
        candidates = (
            clips_in(descend(base, parent, name, spelling)) for spelling in COMPRESSIONS[level]
        )
        first = next(filter(None, candidates), [])
        clips[method] = {path.stem: path for path, _ in first}
    return clips


def _listed(folder: Path) -> dict[str, Listed]:
    """Map the stem of every listed real and fake to its split and group."""
    listed: dict[str, Listed] = {}
    for split in ("train", "val", "test"):
        name = f"splits/{split}.json"
        for pair in read_json(require(folder / f"{split}.json", "ffpp", name, "the splits"), list):
            if not _is_pair(pair):
                raise ValueError(
                    f'ffpp: \'{name}\' contains {pair}; expected pairs such as ["071", "054"]'
                )
            first, second = pair
            entry = Listed(split, f"{first}_{second}")
            for stem in (first, second, f"{first}_{second}", f"{second}_{first}"):
                if listed.setdefault(stem, entry) != entry:
                    raise ValueError(
                        f"ffpp: sequence {stem} is in two pairs, the second in {split}.json; "
                        "restore the official splits"
                    )
    return listed


def _is_pair(pair: object) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and pair[0] != pair[1]
        and all(isinstance(name, str) and re.fullmatch(r"\d{3}", name, re.ASCII) for name in pair)
    )


def _youtube(*folders: Path) -> dict[str, str]:
    """Read YouTube ids by sequence from the user's copy; entries are ``"000": "<id> <number>"``."""
    candidates = (descend(folder, "conversion_dict.json") for folder in folders)
    path = next(filter(None, candidates), None)
    entries = read_json(path, dict) if path else {}
    return {sequence: str(entry).partition(" ")[0] for sequence, entry in entries.items()}


def _leaks(videos: list[Video]) -> tuple[str, ...]:
    """Note YouTube videos that are in two of the indexed splits; the official splits are kept."""
    split_of = {video.target_id: video.split for video in videos if video.label == 0}
    leaks = []
    for pair in STRADDLING:
        splits = {split_of.get(sequence) for sequence in pair}
        if None not in splits and len(splits) > 1:
            leaks.append("/".join(pair))
    if not leaks:
        return ()
    return (f"sequences of one YouTube video in two official splits: {', '.join(leaks)}",)


def _video(
    tree: Tree,
    path: Path,
    method: str,
    level: str,
    listed: Listed,
    reals: Mapping[str, Path],
    youtube: Mapping[str, str],
) -> Video:
    target, _, source = path.stem.partition("_")
    pair_key = tree.video_id(reals[target]) if source and target in reals else ""
    attrs = {"youtube_id": youtube[target]} if target in youtube else {}
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video" if path.suffix else "frames",
        label=int(bool(source)),
        manipulation=method,
        category=METHODS[method][1] if source else "REAL",
        dataset="ffpp",
        split=listed.split,
        split_source="official",
        compression=level,
        target_id=target,
        source_id=source,
        pair_key=pair_key,
        group=listed.group,
        attrs=json.dumps(attrs),
    )


ADAPTER = Adapter(
    name="ffpp",
    licence="FaceForensics Terms of Use, non-commercial research; not redistributable",
    access_url="https://github.com/ondyari/FaceForensics",
    citation="Rössler et al., ICCV 2019",
    read=read,
    official=OFFICIAL,
)
