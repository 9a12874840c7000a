"""Metadata that makes a folder of rendered clips a corpus, in genuine formats with their quirks."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..corpora.adapters import forgerynet
from ..corpora.adapters.celebdf2 import LIST
from .casting import FAKEAVCELEB_ROOT, UNKNOWN_CLIPS, Clip, dfeval_name

NAMES = {
    "ffpp": "FaceForensics++",
    "celebdf2": "Celeb-DF-v2",
    "dfdc": "DFDC",
    "fakeavceleb": FAKEAVCELEB_ROOT,
    "forgerynet": "ForgeryNet",
    "df40": "DF40",
    "wilddeepfake": "deepfake_in_the_wild",
    "itw": "ITW",
    "dfeval2024": "Deepfake-Eval-2024",
}
AUDIO_TYPES = {
    "RealVideo-RealAudio": "A",
    "RealVideo-FakeAudio": "B",
    "FakeVideo-RealAudio": "C",
    "FakeVideo-FakeAudio": "D",
}


Finisher = Callable[[Path, Sequence[Clip]], None]


def official_name(corpus: str) -> str:
    """Return the folder name of the official download; ``ValueError`` for an unknown corpus."""
    if corpus not in NAMES:
        raise ValueError(f"unknown corpus '{corpus}'; known: {', '.join(NAMES)}")
    return NAMES[corpus]


def finish(corpus: str, root: Path, clips: Sequence[Clip]) -> None:
    """Complete the miniature under ``root`` after rendering: metadata, and WildDeepfake's archives.

    The same clips give the same bytes. Raises ``ValueError`` for an unknown corpus,
    ``FileNotFoundError`` for a clip that was not rendered.
    """
    official_name(corpus)
    own = [clip for clip in clips if clip.corpus == corpus]
    for clip in own:
        if not (root / clip.path).exists():
            raise FileNotFoundError(f"{corpus}: '{clip.path}' was not rendered under '{root}'")
    FINISHERS[corpus](root, own)


def _ffpp(root: Path, clips: Sequence[Clip]) -> None:
    """Write ``splits/{train,val,test}.json``: lists of pairs, each pair once."""
    pairs_of: dict[str, dict[frozenset[str], list[str]]] = {"train": {}, "val": {}, "test": {}}
    for clip in clips:
        if clip.label:
            pair = PurePosixPath(clip.path).stem.split("_")
            pairs_of[clip.split].setdefault(frozenset(pair), pair)
    for split, pairs in pairs_of.items():
        _write(root / "splits" / f"{split}.json", json.dumps(list(pairs.values())))


def _celebdf2(root: Path, clips: Sequence[Clip]) -> None:
    """Write the list of test videos: flag 1 is real, no header, no final newline."""
    lines = [f"{1 - clip.label} {clip.path}" for clip in clips if clip.split == "test"]
    _write(root / LIST, "\n".join(lines))


def _dfdc(root: Path, clips: Sequence[Clip]) -> None:
    """Write ``metadata.json`` per training part, ``labels.csv`` for validation, both for test.

    The test set's ``metadata.json`` has other keys than that of training.
    """
    real_of = {
        (clip.target, clip.take): PurePosixPath(clip.path).name for clip in clips if not clip.label
    }
    folders: dict[PurePosixPath, dict[str, Clip]] = {}
    for clip in clips:
        path = PurePosixPath(clip.path)
        folders.setdefault(path.parent, {})[path.name] = clip
    for folder, inside in folders.items():
        official = folder.parts[0]
        if official != "train":
            rows = sorted((name, clip.label) for name, clip in inside.items())
            _write_csv(root / folder / "labels.csv", [("filename", "label"), *rows])
        if official != "validation":
            entries = {name: _dfdc_entry(clip, real_of) for name, clip in inside.items()}
            _write(root / folder / "metadata.json", json.dumps(entries))


def _dfdc_entry(clip: Clip, real_of: Mapping[tuple[str, int], str]) -> dict[str, object]:
    if clip.split == "test":
        return {"is_fake": clip.label}
    if clip.label:
        original = real_of[clip.target, clip.take]
        return {"label": "FAKE", "split": "train", "original": original}
    return {"label": "REAL", "split": "train"}


def _fakeavceleb(root: Path, clips: Sequence[Clip]) -> None:
    """Write ``meta_data.csv``: ``path`` heads the file name, the folder's column has no name."""
    rows = [
        ("source", "target1", "target2", "method", "category", "type", "race", "gender", "path", "")
    ]
    for clip in clips:
        _, kind, race, gender, identity, name = PurePosixPath(clip.path).parts
        audio_type = AUDIO_TYPES[kind]
        method = "rtvc" if audio_type == "B" else clip.method
        donor = name.split("_")[2] if clip.label else "-"
        folder = f"FakeAVCeleb/{kind}/{race}/{gender}/{identity}"
        rows.append((identity, donor, "-", method, audio_type, kind, race, gender, name, folder))
    _write_csv(root / FAKEAVCELEB_ROOT / "meta_data.csv", rows)


def _forgerynet(root: Path, clips: Sequence[Clip]) -> None:
    """Write ``video_list.txt`` of both sets; that of training omits the forged folders 2 and 8."""
    lines_of: dict[str, list[str]] = {}
    for clip in clips:
        official, _, release, folder, *_ = PurePosixPath(clip.path).parts
        if official == "Training" and folder in ("2", "8"):
            continue
        # Segments mark partly forged videos; these are wholly real or forged, so none is listed.
        triple = {"FS": 2, "RE": 1}[_category(int(folder))] if clip.label else 0
        path = clip.path[clip.path.index(release) :]
        lines_of.setdefault(official, []).append(f"0 {path} {clip.label} {triple} {folder}")
    for official, lines in lines_of.items():
        _write(root / official / "video_list.txt", "\n".join(lines) + "\n")


def _category(folder: int) -> str:
    """Return FS if the method replaces the identity, as in ForgeryNet's triple label."""
    return "RE" if forgerynet.METHODS[folder] in ("talking head video", "atvg-net") else "FS"


def _df40(root: Path, clips: Sequence[Clip]) -> None:
    """Write Celeb-DF's list beside its reals."""
    reals = [PurePosixPath(clip.path) for clip in clips if not clip.label]
    lines = [f"1 {path.parts[1]}/{path.name}.mp4" for path in reals]
    _write(root / "Celeb-DF-v2" / LIST, "\n".join(lines))


def _wilddeepfake(root: Path, clips: Sequence[Clip]) -> None:
    """Pack shards as plain tars called ``.tar.gz`` and remove the extracted folders."""
    shards = (PurePosixPath(*PurePosixPath(clip.path).parts[:2]) for clip in clips)
    for shard in dict.fromkeys(shards):
        _pack(root / shard, root / f"{shard}.tar.gz")
        shutil.rmtree(root / shard)


def _pack(folder: Path, archive: Path) -> None:
    """Write a plain tar of ``folder``: sorted members ``./<folder>/…``, no owner and no times."""
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(f"./{file.relative_to(folder.parent).as_posix()}")
            content = file.read_bytes()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _itw(root: Path, clips: Sequence[Clip]) -> None:
    """Write the manifest of a private collection, with no more than path and label."""
    rows = sorted((clip.path, "fake" if clip.label else "real") for clip in clips)
    _write_csv(root / "manifest.csv", [("path", "label"), *rows])


def _dfeval2024(root: Path, clips: Sequence[Clip]) -> None:
    """Write the CSV with its byte order mark, three ground truths and comments that span lines."""
    rows = [
        (
            "Filename",
            "Date",
            "Video Ground Truth",
            "Audio Ground Truth",
            "Public Comments",
            "Finetuning Set",
        )
    ]
    unknown = {dfeval_name(number, unknown=True) for number in range(UNKNOWN_CLIPS)}
    for number, clip in enumerate(sorted(clips, key=lambda clip: clip.path)):
        name = PurePosixPath(clip.path).name
        date = f"2024-{2 + number % 10:02d}-{3 + number % 25:02d}"
        truth = "Unknown" if name in unknown else ("Real", "Fake")[clip.label]
        comment = 'Is this real?\nThe mouth looks "off", doesn\'t it' if number % 3 == 0 else ""
        fold = ("train", "test")[number % 2]
        rows.append((name, date, truth, "Unknown", comment, fold))
    _write_csv(root / "video-metadata-publish.csv", rows, mark="\ufeff")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def _write_csv(path: Path, rows: Iterable[Sequence[object]], mark: str = "") -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    _write(path, mark + buffer.getvalue())


FINISHERS: Mapping[str, Finisher] = {
    "ffpp": _ffpp,
    "celebdf2": _celebdf2,
    "dfdc": _dfdc,
    "fakeavceleb": _fakeavceleb,
    "forgerynet": _forgerynet,
    "df40": _df40,
    "wilddeepfake": _wilddeepfake,
    "itw": _itw,
    "dfeval2024": _dfeval2024,
}
