"""GenD's file lists (Yermakov et al.): ``config/datasets/<corpus>/<split>/<source>.txt``, one frame path a line.

GenD takes a list for real if, and only if, its name contains ``real``.
"""

from __future__ import annotations

from collections.abc import Iterable

NAMES = {"ffpp": "FF", "celebdf2": "CDFv2", "dfdc": "DFDC", "fakeavceleb": "FAVC"}
FFPP = {
    "deepfakes": "DF",
    "face2face": "F2F",
    "faceswap": "FS",
    "neuraltextures": "NT",
    "faceshifter": "FSh",
}
FAKEAVCELEB = {
    "realvideo-realaudio": "RV-RA",
    "fakevideo-realaudio": "FV-RA",
    "fakevideo-fakeaudio": "FV-FA",
}


def source(dataset: str, video_id: str, manipulation: str) -> str:
    """GenD's name of the list in which a video belongs.

    Celeb-DF's are its folders, FakeAVCeleb's the kind of video and audio with the method; corpora
    that GenD does not know have ``real`` and ``fake-<manipulation>``.
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
    known = FFPP.get(manipulation) if dataset == "ffpp" else None
    return known or "fake-" + manipulation.replace(
        "real", "rl"
    )  # as "real" it would be taken for a real


def file_list(frames: Iterable[str]) -> str:
    """Text of a list: sorted paths, one a line."""
    return "".join(f"{frame}\n" for frame in sorted(frames))
