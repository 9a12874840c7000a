"""DF40 (Yan et al. 2024), test frames of the Celeb-DF domain: 9 FS + 12 RE methods (Section 4.2)."""

from __future__ import annotations

from pathlib import Path

from .celebdf2 import LIST, testing_list
from .files import Tree, descend, folders, is_sequence, locate, names
from .schema import Adapter, IndexReport, Video

METHODS = {
    **dict.fromkeys(("fsgan", "faceswap", "simswap", "inswap", "blendface", "uniface", "mobileswap", "e4s",
                     "facedancer"), "FS"),
    **dict.fromkeys(("fomm", "facevid2vid", "wav2lip", "mraa", "one_shot_free", "pirender", "tpsm", "lia",
                     "danet", "sadtalker", "mcnet", "hyperreenact"), "RE"),
}
ALIASES = {"inswapper": "inswap", "mobilefaceswap": "mobileswap", "fs_vid2vid": "facevid2vid",
           "face_vid2vid": "facevid2vid", "oneshot": "one_shot_free", "dagan": "danet"}
REALS, REAL_FOLDERS = "Celeb-DF-v2", ("Celeb-real", "YouTube-real")


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """``DF40/<method>/cdf/frames/<video>`` and the reals ``Celeb-DF-v2/{Celeb,YouTube}-real/frames/<video>``.

    The reals are Celeb-DF's test reals: filtered by its list of testing videos where that lies beside them.
    """
    tree = locate("df40", root, lambda folder: descend(folder, REALS), f"{REALS}/ beside DF40/")
    reals = {(name.lower(), place.name.lower()): place for name in REAL_FOLDERS
             for place in folders(descend(tree.base, REALS, name, "frames")) if is_sequence(place)}
    listing = descend(tree.base, REALS, LIST)
    listed = set(testing_list(listing)) if listing else set(reals)
    wanted = {key for key in listed if key[0] != "celeb-synthesis"}
    chosen = {key: reals[key] for key in reals.keys() & wanted}
    videos = [_real(tree, key, place) for key, place in chosen.items()]
    if not chosen:
        raise FileNotFoundError(f"df40: no real under '{REALS}/Celeb-real/frames/' or '{REALS}/YouTube-real/frames/'; "
                                "DF40's fakes are scored against Celeb-DF's test reals")
    methods = descend(tree.base, "DF40") or tree.base
    skipped = []
    for folder in folders(methods):
        name = folder.name.lower()
        method = ALIASES.get(name, name)
        if method in METHODS:
            videos += [_fake(tree, place, method, chosen)
                       for place in folders(descend(folder, "cdf", "frames")) if is_sequence(place)]
        elif name != REALS.lower():
            skipped.append(folder.name)
    return videos, IndexReport("df40", len(videos), names("/".join(key) for key in wanted - reals.keys()),
                               names(tree.path(reals[key]) for key in reals.keys() - wanted),
                               _notes(listing, len(chosen), skipped))


def _notes(listing: Path | None, reals: int, skipped: list[str]) -> tuple[str, ...]:
    notes = []
    if not listing:
        notes.append(f"'{REALS}/{LIST}' is absent: all {reals} reals are taken for test reals")
    if skipped:
        notes.append(f"methods outside the paper's 21 left out: {', '.join(skipped)}")
    return tuple(notes)


def _real(tree: Tree, key: tuple[str, str], place: Path) -> Video:
    target = key[1].split("_")[0] if key[0] == "celeb-real" else f"youtube-{key[1]}"
    return Video(tree.video_id(place), tree.path(place), "frames", 0, "real", "REAL", "df40", "test", "official",
                 target_id=target, group=target)


def _fake(tree: Tree, place: Path, method: str, reals: dict[tuple[str, str], Path]) -> Video:
    """Names follow Celeb-DF: ``id0_id1_0000`` (target, source, recording), or a YouTube real's number."""
    target, _, rest = place.name.lower().partition("_")
    source, _, recording = rest.partition("_")
    pair = reals.get(("celeb-real", f"{target}_{recording}") if rest else ("youtube-real", target))
    target = target if rest else f"youtube-{target}"
    return Video(tree.video_id(place), tree.path(place), "frames", 1, method, METHODS[method], "df40", "test",
                 "official", target_id=target, source_id=source,
                 pair_key=tree.video_id(pair) if pair else "", group=target)


ADAPTER = Adapter("df40", "CC BY-NC 4.0, by form", "https://github.com/YZY-stack/DF40",
                  "Yan et al., NeurIPS Datasets and Benchmarks 2024", read)
