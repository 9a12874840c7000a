"""DF40 (Yan et al. 2024), test frames of its Celeb-DF domain: 9 FS, 12 RE methods (Section 4.2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ..files import Tree, clips_in, descend, folders, is_sequence, locate, names, read_json
from ..schema import Adapter, IndexReport, Official, Video
from .celebdf2 import LIST, Key, testing_list

METHODS = {
    "fsgan": "FS",
    "faceswap": "FS",
    "simswap": "FS",
    "inswap": "FS",
    "blendface": "FS",
    "uniface": "FS",
    "mobileswap": "FS",
    "e4s": "FS",
    "facedancer": "FS",
    "fomm": "RE",
    "facevid2vid": "RE",
    "wav2lip": "RE",
    "mraa": "RE",
    "one_shot_free": "RE",
    "pirender": "RE",
    "tpsm": "RE",
    "lia": "RE",
    "danet": "RE",
    "sadtalker": "RE",
    "mcnet": "RE",
    "hyperreenact": "RE",
}
ALIASES = {
    "inswapper": "inswap",
    "mobilefaceswap": "mobileswap",
    "fs_vid2vid": "facevid2vid",
    "face_vid2vid": "facevid2vid",
    "oneshot": "one_shot_free",
    "dagan": "danet",
}
REALS = "Celeb-DF-v2"
REAL_FOLDERS = ("Celeb-real", "YouTube-real")
OFFICIAL: Official = {"test": (178, 11_366)}
SWAPPED = re.compile(r"(?P<target>id\d+)_(?P<source>id\d+)_(?P<recording>\d+)")
REENACTED = re.compile(r"(?P<target>id\d+)_(?P<recording>\d+)")


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index ``DF40/<method>/cdf/frames/<video>`` and Celeb-DF's test reals beside them.

    The reals are ``Celeb-DF-v2/{Celeb,YouTube}-real/frames/<video>``, or the original videos if
    there are no frames. They are filtered by Celeb-DF's list of testing videos, or else by the test
    part of DF40's own ``<method>_cdf.json``, if either is beside them.
    """
    tree = locate("df40", root, lambda folder: descend(folder, REALS), f"{REALS}/ beside DF40/")
    reals = _reals(tree)
    listed, source = _listed(tree.base)
    wanted = set(reals) if listed is None else listed
    chosen = {key: reals[key] for key in reals.keys() & wanted}
    if not chosen:
        raise FileNotFoundError(
            f"df40: no real under '{REALS}/Celeb-real/frames/' or '{REALS}/YouTube-real/frames/'; "
            "DF40's fakes are scored against Celeb-DF's test reals"
        )
    methods, skipped = _methods(descend(tree.base, "DF40") or tree.base)
    videos = [_real(tree, key, path) for key, path in chosen.items()]
    empty: Counter[str] = Counter()
    for method, folder in methods.items():
        for path in _clips(folder):
            if is_sequence(path):
                videos.append(_fake(tree, path, method, chosen))
            else:
                empty[method] += 1
    unfound = _unfound(tree.base, videos)
    absent = METHODS.keys() - {video.manipulation for video in videos}
    return videos, IndexReport(
        "df40",
        len(videos),
        names("/".join(key) for key in wanted - reals.keys()),
        names(tree.path(reals[key]) for key in reals.keys() - wanted),
        _notes(source, chosen, skipped, absent) + _clip_notes(empty, unfound),
    )


def _clips(folder: Path) -> list[Path]:
    """Return the clips of one method; its archive may unpack into a folder of its own name."""
    for candidate in (folder, descend(folder, folder.name)):
        frames = descend(candidate, "cdf", "frames") if candidate else None
        if frames:
            return folders(frames)
    return []


def _unfound(base: Path, videos: Collection[Video]) -> Counter[str]:
    """Count, per method, the test clips in its ``<method>_cdf.json`` that are not on disk."""
    found: dict[str, set[str]] = {}
    for video in videos:
        found.setdefault(video.manipulation, set()).add(video.path.rpartition("/")[2].lower())
    counts: Counter[str] = Counter()
    for path in _json_lists(base):
        name = path.name.lower().removesuffix("_cdf.json")
        method = ALIASES.get(name, name)
        if method in METHODS:
            listed = {clip.lower() for clip in _json_clips(path, "_fake")}
            counts[method] += len(listed - found.get(method, set()))
    return counts


def _clip_notes(empty: Counter[str], unfound: Counter[str]) -> tuple[str, ...]:
    notes = []
    for what, counts in (
        ("clips without images", empty),
        ("clips listed in <method>_cdf.json but not on disk", unfound),
    ):
        found = ", ".join(f"{method} {count}" for method, count in sorted((+counts).items()))
        if found:
            notes.append(f"{what}: {found}")
    return tuple(notes)


def _reals(tree: Tree) -> dict[Key, Path]:
    """Map each real to its frames, as the fakes have, or else to its original video."""
    reals: dict[Key, Path] = {}
    for name in REAL_FOLDERS:
        folder = descend(tree.base, REALS, name)
        frames = folders(descend(folder, "frames")) if folder else []
        paths = [path for path in frames if is_sequence(path)]
        paths = paths or [path for path, _ in clips_in(folder)]
        reals |= {(name.lower(), path.stem.lower()): path for path in paths}
    return reals


def _listed(base: Path) -> tuple[set[Key] | None, str]:
    """Return the listed test reals and the name of their list; None and "" without a list."""
    listing = descend(base, REALS, LIST)
    if listing:
        return {key for key in testing_list(listing) if key[0] != "celeb-synthesis"}, LIST
    paths = _json_lists(base)
    listed = {key for path in paths for key in _json_reals(path)}
    return (listed, paths[0].name) if listed else (None, "")


def _json_lists(base: Path) -> list[Path]:
    return sorted(path for folder in (base, *folders(base)) for path in folder.glob("*_cdf.json"))


def _json_reals(path: Path) -> Iterator[Key]:
    for name in _json_clips(path, "_real"):
        yield ("youtube-real" if name.isdecimal() else "celeb-real", name.lower())


def _json_clips(path: Path, ending: str) -> Iterator[str]:
    """Yield the test videos of one list ``{"<m>_cdf": {"<m>_Real": {"test": {"<video>": …}}}}``.

    ``ending`` chooses the labels, ``_real`` or ``_fake``. Any level may be empty.
    """
    for labels in read_json(path, dict).values():
        for label, splits in _mapping(labels).items():
            if label.lower().endswith(ending):
                yield from _mapping(_mapping(splits).get("test"))


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _methods(base: Path) -> tuple[dict[str, Path], list[str]]:
    """Map the paper's methods, in any spelling, to their folders; name folders of other methods."""
    methods: dict[str, Path] = {}
    skipped = []
    for folder in folders(base):
        name = folder.name.lower()
        method = ALIASES.get(name, name)
        if method in METHODS:
            first = methods.setdefault(method, folder)
            if first != folder:
                raise ValueError(
                    f"df40: '{first.name}' and '{folder.name}' are both {method}; remove one"
                )
        elif name != REALS.lower():
            skipped.append(folder.name)
    return methods, skipped


def _notes(
    source: str, reals: Mapping[Key, Path], skipped: list[str], absent: Collection[str]
) -> tuple[str, ...]:
    notes = []
    if not source:
        notes.append(f"'{REALS}/{LIST}' is absent: all {len(reals)} reals are taken for test reals")
    elif source != LIST:
        notes.append(
            f"'{REALS}/{LIST}' is absent: the test reals are those of '{source}' and similar lists"
        )
    if any(path.is_file() for path in reals.values()):
        notes.append(
            "reals are videos but fakes are DF40's aligned crops: "
            "a detector can separate them by that alone"
        )
    if skipped:
        notes.append(f"methods outside the paper's 21 left out: {', '.join(skipped)}")
    if absent:
        notes.append(f"no cdf/frames/ of: {', '.join(sorted(absent))}")
    return tuple(notes)


def _real(tree: Tree, key: Key, path: Path) -> Video:
    folder, stem = key
    target = stem.split("_")[0] if folder == "celeb-real" else f"youtube-{stem}"
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="frames" if path.is_dir() else "video",
        label=0,
        manipulation="real",
        category="REAL",
        dataset="df40",
        split="test",
        split_source="official",
        target_id=target,
        group=target,
    )


def _fake(tree: Tree, path: Path, method: str, reals: Mapping[Key, Path]) -> Video:
    """Make the row of a fake from its name, see ``SWAPPED`` and ``REENACTED``.

    A reenactment may have the name of its real, and then no source; a number is a YouTube real.
    """
    name = path.name.lower()
    match = SWAPPED.fullmatch(name) or REENACTED.fullmatch(name)
    if match:
        target = match["target"]
        real: Key = ("celeb-real", f"{target}_{match['recording']}")
        source = match.groupdict().get("source", "")
    else:
        real = ("youtube-real", name)
        target = f"youtube-{name}"
        source = ""
    pair = reals.get(real)
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="frames",
        label=1,
        manipulation=method,
        category=METHODS[method],
        dataset="df40",
        split="test",
        split_source="official",
        target_id=target,
        source_id=source,
        pair_key=tree.video_id(pair) if pair else "",
        group=target,
    )


ADAPTER = Adapter(
    name="df40",
    licence="CC BY-NC 4.0, by form",
    access_url="https://github.com/YZY-stack/DF40",
    citation="Yan et al., NeurIPS Datasets and Benchmarks 2024",
    read=read,
    official=OFFICIAL,
)
