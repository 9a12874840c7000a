"""IDForge v1, part ``main`` (Xu et al. 2024): eleven types by folder, official splits by list.

The types' meaning and the lists are the authors' own. Three types change the sound only: their
pictures are real, so they are labelled real and marked in ``attrs`` (``audio_only``), or left out.
The tool of a face swap is read off its name, as in the README's examples; other endings are
``unknown`` and counted. IDForge v2 (arrays) is not read.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..checks import remark
from ..files import Tree, descend, locate, names, need, videos_below
from ..schema import Adapter, IndexReport, Video

# Per split not known; about 80,000 real and 170,000 fake shots by a third party, 249,138 in all by
# its README.
OFFICIAL: dict[str, tuple[int, int]] = {}
AUDIO_ONLY = ("rvc_textmismatch", "tts_textgen", "tts_textmismatch")
TYPES = {
    **dict.fromkeys(("pristine", *AUDIO_ONLY), "REAL"),
    **dict.fromkeys(
        (
            "face_audiomismatch_textmismatch",
            "face_rvc_textmismatch",
            "face_tts",
            "face_tts_textgen",
        ),
        "FS",
    ),
    **dict.fromkeys(
        ("lip_audiomismatch_textmismatch", "lip_rvc_textmismatch", "lip_tts_textgen"), "RE"
    ),
}
SWAPS = ("infoswap", "roop", "simswap")


def read(
    root: Path, splits: Path | None = None, audio_only: str = "real"
) -> tuple[list[Video], IndexReport]:
    """Listed videos ``<type>/idNN/idNN_SS/<name>.mp4``, with audio-only fakes as ``real`` or dropped (``drop``).

    The lists ``train|val|test.csv`` are read from ``splits`` if given (``IDForge_v1/`` in a clone
    of the authors' repository), else from in or beside ``main/``, with or without a folder
    ``IDForge_v1/``.
    """
    if audio_only not in ("real", "drop"):
        raise ValueError(f"idforge: audio_only '{audio_only}' is not one of real, drop")
    tree = locate(
        "idforge",
        root,
        lambda folder: any(descend(folder, name) for name in TYPES),
        "main/pristine/",
    )
    split_of = _split_of((Path(splits),) if splits else (tree.base, tree.base.parent))
    clips = {
        place.relative_to(tree.base).as_posix(): place
        for name in TYPES
        for place in videos_below(descend(tree.base, name))
    }
    listed = sorted(clips.keys() & split_of.keys())
    silent = [key for key in listed if key.partition("/")[0] in AUDIO_ONLY]
    dropped = set(silent if audio_only == "drop" else ())
    videos = [_video(tree, clips[key], key, split_of[key]) for key in listed if key not in dropped]
    what = "left out" if dropped else "labelled real"
    notes = remark(f"videos with fake sound and real pictures {what}", silent)
    notes += remark(
        "fakes whose name tells no known tool",
        (video.path for video in videos if video.manipulation == "unknown"),
    )
    return videos, IndexReport(
        "idforge",
        len(videos),
        names(split_of.keys() - clips.keys()),
        names(clips.keys() - split_of.keys()),
        notes,
    )


def _split_of(places: tuple[Path, ...]) -> dict[str, str]:
    """Listed path, from the type on -> split."""
    found: dict[str, str] = {}
    for split in ("train", "val", "test"):
        name = f"{split}.csv"
        lists = (
            descend(folder, *parts)
            for folder in places
            for parts in (("IDForge_v1", name), (name,))
        )
        path = need(next(filter(None, lists), None), "idforge", f"IDForge_v1/{name}", "the splits")
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            key = line.strip()
            if key and key.partition("/")[0] not in TYPES:
                raise ValueError(
                    f"idforge: '{name}' line {number} '{key}'; expected <type>/id00/id00_00/<name>.mp4"
                )
            if key and found.setdefault(key, split) != split:
                raise ValueError(
                    f"idforge: '{name}' line {number} '{key}' is in {found[key]}.csv too; keep one"
                )
    return found


def _video(tree: Tree, place: Path, key: str, split: str) -> Video:
    kind, identity = key.split("/")[:2]
    category = TYPES[kind]
    tool = place.stem.rpartition("_")[2].lower()
    method = {"REAL": "real", "RE": "wav2lip", "FS": tool if tool in SWAPS else "unknown"}[category]
    # A swapped face was put on a stand-in's body: then the folder names the face, not whose video
    # it is.
    target, source = ("", identity) if category == "FS" else (identity, "")
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        int(category != "REAL"),
        method,
        category,
        "idforge",
        split,
        "official",
        target_id=target,
        source_id=source,
        group=identity,
        attrs=json.dumps({"audio_only": kind in AUDIO_ONLY, "type": kind}),
    )


ADAPTER = Adapter(
    "idforge",
    "on request, no licence stated; not redistributable",
    "https://github.com/xyyandxyy/IDForge",
    "Xu et al., ACM MM 2024, arXiv:2401.11764",
    read,
    OFFICIAL,
)
