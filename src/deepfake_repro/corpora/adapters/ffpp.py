"""FaceForensics++ (Rössler et al. 2019): five methods at one compression or all, official splits of pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..files import Tree, clips_in, descend, locate, names, need, read_json
from ..schema import Adapter, IndexReport, Official, Video

METHODS = {
    "deepfakes": ("Deepfakes", "FS"),
    "face2face": ("Face2Face", "RE"),
    "faceswap": ("FaceSwap", "FS"),
    "neuraltextures": ("NeuralTextures", "RE"),
    "faceshifter": ("FaceShifter", "FS"),
}
# The download script says raw, the extraction script and some copies say c0.
COMPRESSIONS = {"raw": ("raw", "c0"), "c23": ("c23",), "c40": ("c40",)}
OFFICIAL: Official = {
    "train": (720, 3_600),
    "val": (140, 700),
    "test": (140, 700),
}  # at one compression
# Sequences cut from one YouTube video that the official splits part (by the authors'
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


def read(
    root: Path, compression: str = "c23", splits: Path | None = None
) -> tuple[list[Video], IndexReport]:
    """Reals and both directions of each pair; a split list ``[a, b]`` means a, b, ``a_b`` and ``b_a``.

    ``compression``: raw, c23, c40, or ``all`` of them that are on disk. The lists ``train|val|test.json`` are
    read from ``splits`` if given (a clone of the authors' repository), else from ``splits/``,
    ``dataset/splits/`` or the root itself. Where ``conversion_dict.json`` lies with them or one folder above,
    ``attrs`` name the YouTube video of the target.
    """
    if compression not in (*COMPRESSIONS, "all"):
        raise ValueError(
            f"ffpp: compression '{compression}' is not one of {', '.join(COMPRESSIONS)}, all"
        )
    tree = locate(
        "ffpp", root, lambda folder: descend(folder, "original_sequences"), "original_sequences/"
    )
    lists = (
        Path(splits)
        if splits
        else (descend(tree.base, "splits") or descend(tree.base, "dataset", "splits") or tree.base)
    )
    split_of, youtube = (
        _split_of(lists),
        _youtube(lists, lists if lists == tree.base else lists.parent),
    )
    videos, missing, unlisted = [], [], []
    for level in COMPRESSIONS if compression == "all" else (compression,):
        clips = _clips(tree.base, level)
        if compression == "all" and not any(clips.values()):
            continue
        for method, found in clips.items():
            listed = {stem for stem in split_of if ("_" in stem) == (method != "real")}
            missing += [f"{method}/{level}/{stem}" for stem in listed - found.keys()]
            unlisted += [tree.path(found[stem]) for stem in found.keys() - listed]
            videos += [
                _video(tree, found[stem], method, level, *split_of[stem], clips["real"], youtube)
                for stem in listed & found.keys()
            ]
    return videos, IndexReport("ffpp", len(videos), names(missing), names(unlisted), _leaks(videos))


def _clips(base: Path, level: str) -> dict[str, dict[str, Path]]:
    """Method -> stem -> place; of several folders for one level (raw, c0) the first that holds clips."""
    found: dict[str, dict[str, Path]] = {}
    for method, (name, _) in {"real": ("youtube", "REAL"), **METHODS}.items():
        parent = "original_sequences" if method == "real" else "manipulated_sequences"
        folders = (
            clips_in(descend(base, parent, name, spelling)) for spelling in COMPRESSIONS[level]
        )
        clips = next(filter(None, folders), [])
        found[method] = {place.stem: place for place, _ in clips}
    return found


def _split_of(folder: Path) -> dict[str, tuple[str, str]]:
    """Stem of every listed real and fake -> (split, group): a pair and all made from it belong together."""
    found: dict[str, tuple[str, str]] = {}
    for split in ("train", "val", "test"):
        for pair in read_json(
            need(folder / f"{split}.json", "ffpp", f"splits/{split}.json", "the splits"), list
        ):
            if not _is_pair(pair):
                raise ValueError(
                    f'ffpp: \'splits/{split}.json\' holds {pair}; expected pairs such as ["071", "054"]'
                )
            first, second = pair
            for stem in (first, second, f"{first}_{second}", f"{second}_{first}"):
                if found.setdefault(stem, (split, f"{first}_{second}")) != (
                    split,
                    f"{first}_{second}",
                ):
                    raise ValueError(
                        f"ffpp: sequence {stem} is in two pairs, the second in {split}.json; "
                        "restore the official splits"
                    )
    return found


def _is_pair(pair: object) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and pair[0] != pair[1]
        and all(isinstance(name, str) and re.fullmatch(r"\d{3}", name, re.ASCII) for name in pair)
    )


def _youtube(*places: Path) -> dict[str, str]:
    """Sequence -> YouTube id, from the user's copy; the entries read ``"000": "<id> <number>"``."""
    path = next(filter(None, (descend(place, "conversion_dict.json") for place in places)), None)
    entries = read_json(path, dict) if path else {}
    return {sequence: str(entry).partition(" ")[0] for sequence, entry in entries.items()}


def _leaks(videos: list[Video]) -> tuple[str, ...]:
    """A note on the YouTube videos that are in two of the indexed splits; the official splits are kept."""
    split_of = {video.target_id: video.split for video in videos if video.label == 0}
    leaks = [
        "/".join(pair)
        for pair in STRADDLING
        if all(name in split_of for name in pair) and len({split_of[name] for name in pair}) > 1
    ]
    return (
        (f"sequences of one YouTube video in two official splits: {', '.join(leaks)}",)
        if leaks
        else ()
    )


def _video(
    tree: Tree,
    place: Path,
    method: str,
    level: str,
    split: str,
    group: str,
    reals: Mapping[str, Path],
    youtube: Mapping[str, str],
) -> Video:
    target, _, source = place.stem.partition("_")
    pair = tree.video_id(reals[target]) if source and target in reals else ""
    attrs = {"youtube_id": youtube[target]} if target in youtube else {}
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video" if place.suffix else "frames",
        int(bool(source)),
        method,
        METHODS[method][1] if source else "REAL",
        "ffpp",
        split,
        "official",
        level,
        target,
        source,
        pair,
        group,
        json.dumps(attrs),
    )


ADAPTER = Adapter(
    "ffpp",
    "FaceForensics Terms of Use, non-commercial research; not redistributable",
    "https://github.com/ondyari/FaceForensics",
    "Rössler et al., ICCV 2019",
    read,
    OFFICIAL,
)
