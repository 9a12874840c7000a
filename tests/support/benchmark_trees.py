"""Small trees of LNCLIP-DF's benchmarks, and rows read from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deepfake_repro.corpora import ADAPTERS
from deepfake_repro.corpora.schema import IndexReport


def make(root: Path, *files: str | Mapping[str, str]) -> Path:
    """Write files under ``root``: one byte for a name, the text for a name that comes with one."""
    texts = {
        name: text
        for file in files
        for name, text in ({file: "x"} if isinstance(file, str) else file).items()
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def read(corpus: str, root: Path, **options: object) -> tuple[dict[str, dict], IndexReport]:
    """The adapter's own index by ``video_id`` without the dataset's name, and its report."""
    table, report = ADAPTERS[corpus].index(root, **options)
    assert set(table["dataset"]) == {corpus} and all(
        name.startswith(f"{corpus}/") for name in table["video_id"]
    )
    return {row["video_id"].partition("/")[2]: row for row in table.to_dict("records")}, report


def cells(rows: Mapping[str, Mapping], *columns: str) -> dict[str, tuple]:
    return {name: tuple(row[column] for column in columns) for name, row in rows.items()}


CDFPP = (
    "Celeb-real/id0_0000.mp4",
    "Celeb-real/id1_0002.mp4",
    "YouTube-real/00170.mp4",
    "Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4",
    "Celeb-synthesis/FaceSwap/BlendFace/id0_id1_0000.mp4",
    "Celeb-synthesis/FaceReenact/LIA/id1_id0_0002.mp4",
    "Celeb-synthesis/TalkingFace/IP_LAP/id1_0002_test_00007.mp4",
)
CDFPP_LIST = (
    "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4\n"
    "1 Celeb-real/id0_0000.mp4\n0 Celeb-synthesis/TalkingFace/IP_LAP/id1_0002_test_00007.mp4\n"
    "0 Celeb-synthesis/FaceSwap/GHOST/id0_id1_0000.mp4"
)


def celebdfpp(root: Path, *names: str, listing: str = CDFPP_LIST) -> Path:
    return make(root / "Celeb-DF++", *(names or CDFPP), {"List_of_testing_videos.txt": listing})
