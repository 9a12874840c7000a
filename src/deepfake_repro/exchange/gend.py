"""GenD's file lists (Yermakov et al.), with one frame path per line.

They are named ``config/datasets/<corpus>/<split>/<source>.txt``. GenD treats a list as real if and
only if its name contains ``real``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from ..corpora.adapters import celebdfpp, df40, ffpp, kodf
from ..corpora.files import read_text
from .listed import EXPORTED, Entry, manifest_of, parts_of

NAMES = {"ffpp": "FF", "celebdf2": "CDFv2", "dfdc": "DFDC", "fakeavceleb": "FAVC"}
CORPORA = {
    **{name: corpus for corpus, name in NAMES.items()},
    "CDFv3": "celebdfpp",
    "DF40": "df40",
    "DFD": "dfd",
    "DFDM": "dfdm",
    "DeepSpeak-1.1": "deepspeak1",
    "DeepSpeak-2.0": "deepspeak2",
    "FFIW": "ffiw",
    "FSh": "faceshifter",
    "FakeAVCeleb": "fakeavceleb",
    "IDForge-v1": "idforge",
    "KoDF": "kodf",
    "PolyGlotFake": "polyglotfake",
    "UADFD": "uadfv",
    "UADFV": "uadfv",
}
"""GenD's names of corpora -> ours; a suffix such as ``-x1.3-th0.5-all`` is a way of cropping."""
FFPP = {
    "deepfakes": "DF",
    "face2face": "F2F",
    "faceswap": "FS",
    "neuraltextures": "NT",
    "faceshifter": "FSh",
}
METHODS = {name: method for method, name in FFPP.items()}
OF_CORPUS = {
    "celebdf2": {"Celeb-synthesis": "deepfake"},
    "dfd": {"fake": "dfd"},
    "dfdc": {"fake": "dfdc_unknown"},
    "dfdm": {"dfl": "dfl-h128"},
    "faceshifter": {"fake": "faceshifter"},
    "ffpp": METHODS,
    "kodf": {"fake-fo": "fomm"},
}
"""Names of lists whose manipulation has another name in our index."""
CATEGORIES = {
    **{method: category for method, (_, category) in ffpp.METHODS.items()},
    **dict(kodf.METHODS.values()),
    **{name: category for name, category in celebdfpp.FOLDERS.items() if category != "REAL"},
    **df40.METHODS,
    **dict.fromkeys(("dfaker", "dfl-h128", "iae", "lightweight"), "FS"),
    **dict.fromkeys(("infoswap", "roop", "simswap", "fsgan", "facefusion"), "FS"),
    **dict.fromkeys(("facefusion_gan", "facefusion_live", "deepfake"), "FS"),
    **dict.fromkeys(("dfd", "dfdc_unknown", "method_a", "method_b"), "FS"),
    **dict.fromkeys(("wav2lip", "video_retalking", "retalking", "diff2lip", "latentsync"), "RE"),
    **dict.fromkeys(("hellomeme", "liveportrait", "memo"), "RE"),
    **dict.fromkeys(("faceswap-wav2lip", "fsgan-wav2lip"), "FS"),
}
"""Category of each manipulation that a list can name."""
BEFORE_METHOD = re.compile(
    r"(test_cdf_|(train|val|test)[-_]|fake-|face_tts_|FV-[RF]A-|[a-z]{2}2[a-z]{2}_)"
)
"""What stands before the manipulation in the name of a list; may occur several times."""
SPLITS = {"my-val": "val", "my-train": "train", "train": "train", "val": "val"}
FAKEAVCELEB = {
    "realvideo-realaudio": "RV-RA",
    "fakevideo-realaudio": "FV-RA",
    "fakevideo-fakeaudio": "FV-FA",
}


def source(dataset: str, video_id: str, manipulation: str) -> str:
    """Return GenD's name of the list that contains a video.

    Celeb-DF's lists are named by its folders, FakeAVCeleb's by the kind of video and audio with the
    method. Corpora that GenD does not have get ``real`` and ``fake-<manipulation>``.
    """
    folder = video_id.partition("/")[2].partition("/")[0]
    if dataset == "celebdf2":
        return folder
    if dataset == "fakeavceleb":
        return f"{FAKEAVCELEB.get(folder.lower(), folder)}-{manipulation}"
    if manipulation == "real":
        return "real"
    if dataset == "dfdc":
        return "fake"
    if dataset == "ffpp" and manipulation in FFPP:
        return FFPP[manipulation]
    # A name with "real" would make the list a real one.
    return "fake-" + manipulation.replace("real", "rl")


def file_list(frames: Iterable[str]) -> str:
    """Return the text of a list: sorted paths, one per line."""
    return "".join(f"{frame}\n" for frame in sorted(frames))


def read_lists(lists: Path, frames_root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read all lists below ``lists`` (GenD's ``config/datasets``, or part of it) as a manifest.

    Returns the manifest for the adapter ``manifest``, see ``listed.manifest_of``, and notes. The
    list's path gives corpus, split and manipulation; a list in no split is for testing. So
    IDForge's test of the second paper, the tools of PolyGlotFake and KoDF's adversarial set
    (corpus ``kodf-adv``) are what the lists say. What our own export wrote completes the rows.

    Raises ``FileNotFoundError`` without lists, and the errors of ``listed.manifest_of``.
    """
    files = sorted(lists.rglob("*.txt"))
    if not files:
        raise FileNotFoundError(f"'{lists}' has no lists such as FF/test/real.txt")
    defects: Counter[str] = Counter()
    entries = [entry for file in files for entry in _videos_in(file, lists, defects)]
    above = (lists, *lists.absolute().parents[:3])
    top = next((folder for folder in above if (folder / EXPORTED).is_file()), lists)
    return manifest_of(entries, defects, frames_root, lists.name, top)


def _videos_in(file: Path, lists: Path, defects: Counter[str]) -> Iterator[Entry]:
    frames: dict[tuple[str, ...], list[str]] = {}
    for line in filter(None, map(str.strip, read_text(file).splitlines())):
        parts = parts_of(line)
        frames.setdefault(parts[:-1], []).append(parts[-1])
    if not frames:
        defects["empty lists"] += 1
    for folder, names in frames.items():
        corpus, split, manipulation, category = _meaning(file, lists)
        yield Entry(
            file.relative_to(lists).as_posix(),
            manipulation,
            category,
            split,
            folder=folder,
            frames=tuple(names),
            corpus=corpus,
        )


def _meaning(file: Path, lists: Path) -> tuple[str, str, str, str]:
    """Return corpus, split, manipulation and category of a list's videos."""
    parts = file.relative_to(lists).parts[:-1]
    within = not parts or parts[0] in (*SPLITS, "test", "all")
    name = lists.name if within else parts[0]
    corpus = CORPORA.get(re.sub(r"-x\d.*", "", name), name.lower())
    prefix = file.stem.partition("-")[0]
    split = next((SPLITS[part] for part in (*parts, prefix) if part in SPLITS), "test")
    if file.stem.endswith("-adv"):
        corpus += "-adv"
    if "real" in file.stem:
        return corpus, split, "real", "REAL"
    method = OF_CORPUS.get(corpus, {}).get(file.stem) or _method(file.stem)
    return corpus, split, method, CATEGORIES.get(method, "UNK")


def _method(stem: str) -> str:
    match = BEFORE_METHOD.match(stem)
    while match:
        stem = stem[match.end() :]
        match = BEFORE_METHOD.match(stem)
    return "unknown" if stem in ("fake", "adv") else stem.lower()
