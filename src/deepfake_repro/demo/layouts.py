"""The metadata that makes a folder of rendered clips a corpus: genuine formats with their genuine quirks."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
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


def official_name(corpus: str) -> str:
    """Folder name of the official download; ``ValueError`` for an unknown corpus."""
    if corpus not in NAMES:
        raise ValueError(f"unknown corpus '{corpus}'; known: {', '.join(NAMES)}")
    return NAMES[corpus]


def finish(corpus: str, root: Path, clips: Sequence[Clip]) -> None:
    """Complete the miniature under ``root`` after rendering: metadata files, and WildDeepfake's archives.

    Deterministic bytes. Raises ``ValueError`` for an unknown corpus, ``FileNotFoundError`` for a
    clip that was not rendered.
    """
    official_name(corpus)
    own = [clip for clip in clips if clip.corpus == corpus]
    for clip in own:
        if not (root / clip.path).exists():
            raise FileNotFoundError(f"{corpus}: '{clip.path}' was not rendered under '{root}'")
    FINISHERS[corpus](root, own)


def _ffpp(root: Path, clips: Sequence[Clip]) -> None:
    """``splits/{train,val,test}.json``: lists of pairs, each pair once."""
    pairs: dict[str, dict[frozenset[str], list[str]]] = {"train": {}, "val": {}, "test": {}}
    for clip in clips:
        if clip.label:
            pair = PurePosixPath(clip.path).stem.split("_")
            pairs[clip.split].setdefault(frozenset(pair), pair)
    for split, found in pairs.items():
        _write(root / "splits" / f"{split}.json", json.dumps(list(found.values())))


def _celebdf2(root: Path, clips: Sequence[Clip]) -> None:
    """The list of test videos: flag 1 is real, no header, no final newline."""
    lines = [f"{1 - clip.label} {clip.path}" for clip in clips if clip.split == "test"]
    _write(root / LIST, "\n".join(lines))


def _dfdc(root: Path, clips: Sequence[Clip]) -> None:
    """``metadata.json`` per training part, ``labels.csv`` for validation, both for test (other keys there)."""
    real = {
        (clip.target, clip.take): PurePosixPath(clip.path).name for clip in clips if not clip.label
    }
    for folder in dict.fromkeys(PurePosixPath(clip.path).parent for clip in clips):
        inside = {
            PurePosixPath(clip.path).name: clip
            for clip in clips
            if PurePosixPath(clip.path).parent == folder
        }
        if folder.parts[0] == "train":
            entries = {
                name: {"label": "FAKE", "split": "train", "original": real[clip.target, clip.take]}
                if clip.label
                else {"label": "REAL", "split": "train"}
                for name, clip in inside.items()
            }
            _write(root / folder / "metadata.json", json.dumps(entries))
        else:
            rows = sorted((name, clip.label) for name, clip in inside.items())
            _write_csv(root / folder / "labels.csv", [("filename", "label"), *rows])
        if folder.parts[0] == "test":
            entries = {name: {"is_fake": clip.label} for name, clip in inside.items()}
            _write(root / folder / "metadata.json", json.dumps(entries))


def _fakeavceleb(root: Path, clips: Sequence[Clip]) -> None:
    """``meta_data.csv``: ``path`` heads the file name, the folder's column has no name."""
    rows = [
        ("source", "target1", "target2", "method", "category", "type", "race", "gender", "path", "")
    ]
    for clip in clips:
        top, kind, race, gender, identity, name = PurePosixPath(clip.path).parts
        method = "rtvc" if AUDIO_TYPES[kind] == "B" else clip.method
        donor = name.split("_")[2] if clip.label else "-"
        rows.append(
            (
                identity,
                donor,
                "-",
                method,
                AUDIO_TYPES[kind],
                kind,
                race,
                gender,
                name,
                f"FakeAVCeleb/{kind}/{race}/{gender}/{identity}",
            )
        )
    _write_csv(root / FAKEAVCELEB_ROOT / "meta_data.csv", rows)


def _forgerynet(root: Path, clips: Sequence[Clip]) -> None:
    """``video_list.txt`` of both sets; the one of training omits the wholly forged folders 2 and 8."""
    lines: dict[str, list[str]] = {}
    for clip in clips:
        official, _, release, folder, *_ = PurePosixPath(clip.path).parts
        if official == "Training" and folder in ("2", "8"):
            continue
        # Segments mark partly forged videos; these are wholly real or forged, so none is listed.
        triple = {"FS": 2, "RE": 1}[_category(int(folder))] if clip.label else 0
        place = clip.path[clip.path.index(release) :]
        lines.setdefault(official, []).append(f"0 {place} {clip.label} {triple} {folder}")
    for official, found in lines.items():
        _write(root / official / "video_list.txt", "\n".join(found) + "\n")


def _category(folder: int) -> str:
    """FS if the method replaces the identity, as ForgeryNet's triple label has it."""
    return "RE" if forgerynet.METHODS[folder] in ("talking head video", "atvg-net") else "FS"


def _df40(root: Path, clips: Sequence[Clip]) -> None:
    """Celeb-DF's list beside its reals."""
    lines = [
        f"1 {PurePosixPath(clip.path).parts[1]}/{PurePosixPath(clip.path).name}.mp4"
        for clip in clips
        if not clip.label
    ]
    _write(root / "Celeb-DF-v2" / LIST, "\n".join(lines))


def _wilddeepfake(root: Path, clips: Sequence[Clip]) -> None:
    """Shards packed as plain tars that are called ``.tar.gz``; the extracted folders go."""
    for shard in dict.fromkeys(
        PurePosixPath(*PurePosixPath(clip.path).parts[:2]) for clip in clips
    ):
        _pack(root / shard, root / f"{shard}.tar.gz")
        shutil.rmtree(root / shard)


def _pack(folder: Path, archive: Path) -> None:
    """Plain tar of ``folder`` with sorted members ``./<folder>/…`` and nothing of this machine in their headers."""
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(f"./{file.relative_to(folder.parent).as_posix()}")
            content = file.read_bytes()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _itw(root: Path, clips: Sequence[Clip]) -> None:
    """The manifest of a private collection, which knows no more than path and label."""
    rows = sorted((clip.path, "fake" if clip.label else "real") for clip in clips)
    _write_csv(root / "manifest.csv", [("path", "label"), *rows])


def _dfeval2024(root: Path, clips: Sequence[Clip]) -> None:
    """The CSV with its byte order mark, three ground truths and comments that span lines."""
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
        truth = "Unknown" if name in unknown else ("Real", "Fake")[clip.label]
        comment = 'Is this real?\nThe mouth looks "off", doesn\'t it' if number % 3 == 0 else ""
        rows.append(
            (
                name,
                f"2024-{2 + number % 10:02d}-{3 + number % 25:02d}",
                truth,
                "Unknown",
                comment,
                ("train", "test")[number % 2],
            )
        )
    _write_csv(root / "video-metadata-publish.csv", rows, mark="\ufeff")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def _write_csv(path: Path, rows: Iterable[Sequence[object]], mark: str = "") -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    _write(path, mark + buffer.getvalue())


FINISHERS: Mapping = {
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
