"""VGGFace2 (Cao et al. 2018): photographs of real people; FSFM's pre-training data (Section 3.2).

Not a deepfake corpus: its rows are in no split, so that they enter neither the training sample nor
a test set. Only pre-training reads them (``pretrain.faces: vggface2``). Any folder of folders of
photographs fits.
"""

from __future__ import annotations

from pathlib import Path

from ..files import folders, is_sequence, locate
from ..schema import Adapter, IndexReport, Official, Video

# Identities, as the release states them; its 3.31 million pictures are counted on reading.
OFFICIAL: Official = {"all": (8_631 + 500, 0)}


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index one row per ``<identity>/`` below ``train/`` and ``test/`` or below the root itself."""
    tree = locate(
        "vggface2", root, _identities, "folders of photographs, such as train/n000002/0001_01.jpg"
    )
    videos = [
        Video(
            video_id=tree.video_id(path),
            path=tree.path(path),
            kind="photos",
            label=0,
            manipulation="real",
            category="REAL",
            dataset="vggface2",
            split="none",
            split_source="derived",
            target_id=path.name,
            group=path.name,
        )
        for path in _identities(tree.base)
    ]
    return videos, IndexReport("vggface2", len(videos))


def _identities(base: Path) -> list[Path]:
    """Return folders of photographs below ``base``, or below its ``train/`` and ``test/``."""
    candidates: list[Path] = []
    for folder in folders(base):
        candidates += folders(folder) if folder.name.lower() in ("train", "test") else [folder]
    return [folder for folder in candidates if is_sequence(folder)]


ADAPTER = Adapter(
    name="vggface2",
    licence=(
        "CC BY-SA 4.0 for the lists; photographs by their owners; no longer offered by its authors"
    ),
    access_url="https://github.com/ox-vgg/vgg_face2",
    citation="Cao et al., FG 2018",
    read=read,
    official=OFFICIAL,
)
