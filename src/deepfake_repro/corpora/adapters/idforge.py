"""IDForge v1, part ``main`` (Xu et al. 2024): eleven types by folder, official splits by list.

The meaning of the types and the lists are the authors'. Three types change the sound only: their
pictures are real, so they are labelled real and marked in ``attrs`` (``audio_only``), or left out.
The tool of a face swap is read from its name, as in the README's examples; other endings are
``unknown``, and the report counts them. IDForge v2 (arrays) is not read.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..checks import remark
from ..files import Tree, descend, locate, names, read_text, require, videos_below
from ..schema import Adapter, IndexReport, Official, Video

# Counts per split are not documented: about 80,000 real and 170,000 fake shots by a third party,
# 249,138 in all by its README.
OFFICIAL: Official = {}
AUDIO_ONLY = ("rvc_textmismatch", "tts_textgen", "tts_textmismatch")
TYPES = {
    "pristine": "REAL",
    **dict.fromkeys(AUDIO_ONLY, "REAL"),
    "face_audiomismatch_textmismatch": "FS",
    "face_rvc_textmismatch": "FS",
    "face_tts": "FS",
    "face_tts_textgen": "FS",
    "lip_audiomismatch_textmismatch": "RE",
    "lip_rvc_textmismatch": "RE",
    "lip_tts_textgen": "RE",
}
SWAPS = ("infoswap", "roop", "simswap")
SELECTIONS = ("all", "lnclip")


def read(
    root: Path, splits: Path | None = None, audio_only: str = "real", selection: str = "all"
) -> tuple[list[Video], IndexReport]:
    """Index listed videos ``<type>/idNN/idNN_SS/<name>.mp4``.

    ``selection`` ``lnclip`` keeps of the test split what the second paper's list has: the reals,
    and ``face_tts`` by one of ``SWAPS``. ``audio_only`` decides whether fakes by sound only are
    labelled ``real`` or left out (``drop``). The lists ``train|val|test.csv`` are read from
    ``splits`` if given (``IDForge_v1/`` in a clone of the authors' repository), else from ``main/``
    or beside it, with or without a folder ``IDForge_v1/``.
    """
    if audio_only not in ("real", "drop"):
        raise ValueError(f"idforge: audio_only '{audio_only}' is not one of real, drop")
    if selection not in SELECTIONS:
        raise ValueError(f"idforge: selection '{selection}' is not one of {', '.join(SELECTIONS)}")
    tree = locate(
        "idforge",
        root,
        lambda folder: any(descend(folder, name) for name in TYPES),
        "main/pristine/",
    )
    split_of = _split_of((Path(splits),) if splits else (tree.base, tree.base.parent))
    paths = [path for name in TYPES for path in videos_below(descend(tree.base, name))]
    clips = {_key(path.relative_to(tree.base).as_posix()): path for path in paths}
    listed = sorted(clips.keys() & split_of.keys())
    sound_only = [key for key in listed if key.partition("/")[0] in AUDIO_ONLY]
    dropped = set(sound_only if audio_only == "drop" else ())
    videos = [_video(tree, clips[key], key, split_of[key]) for key in listed if key not in dropped]
    others = [video for video in videos if selection == "lnclip" and not _is_of_lnclip(video)]
    if others:
        videos = [video for video in videos if _is_of_lnclip(video)]
    what = "left out" if dropped else "labelled real"
    notes = remark(f"videos with fake sound and real pictures {what}", sound_only)
    notes += remark(
        "fakes whose name does not end with a known tool",
        (video.path for video in videos if video.manipulation == "unknown"),
    )
    notes += remark(
        "test videos of other types or tools left out, as in LNCLIP-DF's list",
        (video.path for video in others),
    )
    return videos, IndexReport(
        "idforge",
        len(videos),
        names(split_of.keys() - clips.keys()),
        names(clips.keys() - split_of.keys()),
        notes,
    )


def _is_of_lnclip(video: Video) -> bool:
    """Tell whether the second paper's list has a video; of the other splits it has all."""
    kind = json.loads(video.attrs)["type"]
    known = kind == "pristine" or (kind == "face_tts" and video.manipulation in SWAPS)
    return known or video.split != "test"


def _key(path: str) -> str:
    """Return a listed path with its extension in lower case."""
    stem, dot, extension = path.rpartition(".")
    return f"{stem}{dot}{extension.lower()}"


def _split_of(folders: tuple[Path, ...]) -> dict[str, str]:
    """Map each listed path, from the type on, to its split."""
    split_of: dict[str, str] = {}
    for split in ("train", "val", "test"):
        name = f"{split}.csv"
        where = f"idforge: '{name}' line"
        for number, line in enumerate(read_text(_list(folders, name)).splitlines(), start=1):
            key = _key(line.strip())
            if not key:
                continue
            if key.partition("/")[0] not in TYPES:
                raise ValueError(
                    f"{where} {number} '{key}'; expected <type>/id00/id00_00/<name>.mp4"
                )
            first = split_of.setdefault(key, split)
            if first != split:
                raise ValueError(f"{where} {number} '{key}' is in {first}.csv too; keep one")
    return split_of


def _list(folders: tuple[Path, ...], name: str) -> Path:
    """Return the first list of that name in ``folders``."""
    candidates = (
        descend(folder, *parts) for folder in folders for parts in (("IDForge_v1", name), (name,))
    )
    first = next(filter(None, candidates), None)
    return require(first, "idforge", f"IDForge_v1/{name}", "the splits")


def _video(tree: Tree, path: Path, key: str, split: str) -> Video:
    kind, identity = key.split("/")[:2]
    category = TYPES[kind]
    tool = path.stem.rpartition("_")[2].lower()
    methods = {"REAL": "real", "RE": "wav2lip", "FS": tool if tool in SWAPS else "unknown"}
    # A face was swapped onto a stand-in's body: then the folder names the person whose face it is,
    # not the person whose video it is.
    swapped = category == "FS"
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=int(category != "REAL"),
        manipulation=methods[category],
        category=category,
        dataset="idforge",
        split=split,
        split_source="official",
        target_id="" if swapped else identity,
        source_id=identity if swapped else "",
        group=identity,
        attrs=json.dumps({"audio_only": kind in AUDIO_ONLY, "type": kind}),
    )


ADAPTER = Adapter(
    name="idforge",
    licence="on request, no licence stated; not redistributable",
    access_url="https://github.com/xyyandxyy/IDForge",
    citation="Xu et al., ACM MM 2024, arXiv:2401.11764",
    read=read,
    official=OFFICIAL,
)
