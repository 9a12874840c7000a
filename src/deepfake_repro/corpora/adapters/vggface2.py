"""VGGFace2 (Cao et al. 2018): photographs of real people, from which FSFM was pre-trained (Section 3.2).

Not a deepfake corpus: its rows belong to no split, so that they enter neither the training sample
nor a test set, and only pre-training reads them (``pretrain.faces: vggface2``). Any folder of
folders of photographs fits.
"""

from __future__ import annotations

from pathlib import Path

from ..files import folders, is_sequence, locate
from ..schema import Adapter, IndexReport, Official, Video

# Identities, as the release states them; its pictures, 3.31 million, are counted when they are
# read.
OFFICIAL: Official = {"all": (8_631 + 500, 0)}


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """``<identity>/<image>`` below ``train/`` and ``test/`` or below the root itself; a row is an identity."""
    tree = locate(
        "vggface2", root, _identities, "folders of photographs, such as train/n000002/0001_01.jpg"
    )
    videos = [
        Video(
            tree.video_id(place),
            tree.path(place),
            "photos",
            0,
            "real",
            "REAL",
            "vggface2",
            "none",
            "derived",
            target_id=place.name,
            group=place.name,
        )
        for place in _identities(tree.base)
    ]
    return videos, IndexReport("vggface2", len(videos))


def _identities(base: Path) -> list[Path]:
    """Folders of photographs below ``base``, or below its ``train/`` and ``test/``."""
    return [
        place
        for folder in folders(base)
        for place in (folders(folder) if folder.name.lower() in ("train", "test") else [folder])
        if is_sequence(place)
    ]


ADAPTER = Adapter(
    "vggface2",
    "CC BY-SA 4.0 for the lists; photographs by their owners; no longer offered by its authors",
    "https://github.com/ox-vgg/vgg_face2",
    "Cao et al., FG 2018",
    read,
    OFFICIAL,
)
