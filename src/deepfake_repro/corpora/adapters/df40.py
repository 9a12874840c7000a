"""DF40 (Yan et al. 2024), test frames of the Celeb-DF domain: 9 FS + 12 RE methods (Section 4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..files import Tree, clips_in, descend, folders, is_sequence, locate, names, read_json
from ..schema import Adapter, IndexReport, Official, Video
from .celebdf2 import LIST, testing_list

METHODS = {
    **dict.fromkeys(
        (
            "fsgan",
            "faceswap",
            "simswap",
            "inswap",
            "blendface",
            "uniface",
            "mobileswap",
            "e4s",
            "facedancer",
        ),
        "FS",
    ),
    **dict.fromkeys(
        (
            "fomm",
            "facevid2vid",
            "wav2lip",
            "mraa",
            "one_shot_free",
            "pirender",
            "tpsm",
            "lia",
            "danet",
            "sadtalker",
            "mcnet",
            "hyperreenact",
        ),
        "RE",
    ),
}
ALIASES = {
    "inswapper": "inswap",
    "mobilefaceswap": "mobileswap",
    "fs_vid2vid": "facevid2vid",
    "face_vid2vid": "facevid2vid",
    "oneshot": "one_shot_free",
    "dagan": "danet",
}
REALS, REAL_FOLDERS = "Celeb-DF-v2", ("Celeb-real", "YouTube-real")
OFFICIAL: Official = {"test": (178, 11_366)}

Key = tuple[str, str]


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """``DF40/<method>/cdf/frames/<video>`` and the reals ``Celeb-DF-v2/{Celeb,YouTube}-real/frames/<video>``.

    The reals are Celeb-DF's test reals: filtered by its list of testing videos, or else by the test
    part of DF40's own ``<method>_cdf.json``, where either lies beside them. Without frames their
    videos are taken.
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
    videos = [_real(tree, key, place) for key, place in chosen.items()]
    videos += [
        _fake(tree, place, method, chosen)
        for method, folder in methods.items()
        for place in folders(descend(folder, "cdf", "frames"))
        if is_sequence(place)
    ]
    notes = _notes(
        source, chosen, skipped, METHODS.keys() - {video.manipulation for video in videos}
    )
    return videos, IndexReport(
        "df40",
        len(videos),
        names("/".join(key) for key in wanted - reals.keys()),
        names(tree.path(reals[key]) for key in reals.keys() - wanted),
        notes,
    )


def _reals(tree: Tree) -> dict[Key, Path]:
    """(folder, video) in lower case -> place: frames, as the fakes are, or else the original videos."""
    found: dict[Key, Path] = {}
    for name in REAL_FOLDERS:
        folder = descend(tree.base, REALS, name)
        frames = [
            place
            for place in folders(descend(folder, "frames") if folder else None)
            if is_sequence(place)
        ]
        found |= {
            (name.lower(), place.stem.lower()): place
            for place in frames or [place for place, _ in clips_in(folder)]
        }
    return found


def _listed(base: Path) -> tuple[set[Key] | None, str]:
    """The test reals and the file that says so; None where no list is at hand."""
    listing = descend(base, REALS, LIST)
    if listing:
        return {key for key in testing_list(listing) if key[0] != "celeb-synthesis"}, LIST
    places = sorted(path for folder in (base, *folders(base)) for path in folder.glob("*_cdf.json"))
    listed = {key for path in places for key in _json_reals(path)}
    return (listed, places[0].name) if listed else (None, "")


def _json_reals(path: Path) -> Iterator[Key]:
    """Test reals of one list ``{"<m>_cdf": {"<m>_Real": {"test": {"<video>": …}}}}``, of which keys may be empty."""
    for labels in read_json(path, dict).values():
        for label, splits in _mapping(labels).items():
            if label.lower().endswith("_real"):
                for name in _mapping(_mapping(splits).get("test")):
                    yield ("youtube-real" if name.isdecimal() else "celeb-real", name.lower())


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _methods(base: Path) -> tuple[dict[str, Path], list[str]]:
    """Method of the paper -> folder, whatever its spelling; and the folders of other methods."""
    found: dict[str, Path] = {}
    skipped = []
    for folder in folders(base):
        name = folder.name.lower()
        method = ALIASES.get(name, name)
        if method not in METHODS:
            skipped += [folder.name] if name != REALS.lower() else []
        elif found.setdefault(method, folder) != folder:
            raise ValueError(
                f"df40: '{found[method].name}' and '{folder.name}' are both {method}; remove one"
            )
    return found, skipped


def _notes(
    source: str, reals: Mapping[Key, Path], skipped: list[str], absent: Iterable[str]
) -> tuple[str, ...]:
    notes = []
    if not source:
        notes.append(f"'{REALS}/{LIST}' is absent: all {len(reals)} reals are taken for test reals")
    elif source != LIST:
        notes.append(
            f"'{REALS}/{LIST}' is absent: the test reals are those of '{source}' and its like"
        )
    if any(place.is_file() for place in reals.values()):
        notes.append(
            "reals are videos but fakes are DF40's aligned crops: a detector can tell them by that alone"
        )
    if skipped:
        notes.append(f"methods outside the paper's 21 left out: {', '.join(skipped)}")
    if absent := sorted(absent):
        notes.append(f"no cdf/frames/ of: {', '.join(absent)}")
    return tuple(notes)


def _real(tree: Tree, key: Key, place: Path) -> Video:
    target = key[1].split("_")[0] if key[0] == "celeb-real" else f"youtube-{key[1]}"
    kind = "frames" if place.is_dir() else "video"
    return Video(
        tree.video_id(place),
        tree.path(place),
        kind,
        0,
        "real",
        "REAL",
        "df40",
        "test",
        "official",
        target_id=target,
        group=target,
    )


def _fake(tree: Tree, place: Path, method: str, reals: Mapping[Key, Path]) -> Video:
    """Names follow Celeb-DF: ``id0_id1_0000`` (target, source, recording), or a YouTube real's number."""
    target, _, rest = place.name.lower().partition("_")
    source, _, recording = rest.partition("_")
    pair = reals.get(("celeb-real", f"{target}_{recording}") if rest else ("youtube-real", target))
    target = target if rest else f"youtube-{target}"
    return Video(
        tree.video_id(place),
        tree.path(place),
        "frames",
        1,
        method,
        METHODS[method],
        "df40",
        "test",
        "official",
        target_id=target,
        source_id=source,
        pair_key=tree.video_id(pair) if pair else "",
        group=target,
    )


ADAPTER = Adapter(
    "df40",
    "CC BY-NC 4.0, by form",
    "https://github.com/YZY-stack/DF40",
    "Yan et al., NeurIPS Datasets and Benchmarks 2024",
    read,
    OFFICIAL,
)
