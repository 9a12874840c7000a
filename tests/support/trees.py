"""Small trees of files in the layouts of corpora, and rows read from them."""

from collections.abc import Mapping
from pathlib import Path

from deepfake_repro.corpora import ADAPTERS


def make(root: Path, files: Mapping[str, str | bytes] | list[str]) -> Path:
    """Write the files under ``root``; a bare list of names gives one byte each."""
    for name, content in (
        files if isinstance(files, Mapping) else dict.fromkeys(files, b"x")
    ).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def rows(corpus: str, root: Path, **options: object) -> dict[str, dict]:
    """The index by ``video_id`` without the dataset's name."""
    table, _ = ADAPTERS[corpus].index(root, **options)
    return {row["video_id"].partition("/")[2]: row for row in table.to_dict("records")}


FFPP_METHODS = {
    "Deepfakes": ("deepfakes", "FS"),
    "Face2Face": ("face2face", "RE"),
    "FaceSwap": ("faceswap", "FS"),
    "NeuralTextures": ("neuraltextures", "RE"),
    "FaceShifter": ("faceshifter", "FS"),
}
FFPP_PAIRS = {"train": ("071", "054"), "val": ("720", "672"), "test": ("953", "974")}
