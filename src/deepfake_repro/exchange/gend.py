"""GenD's file lists (Yermakov et al.), with one frame path per line.

They are named ``config/datasets/<corpus>/<split>/<source>.txt``. GenD treats a list as real if and
only if its name contains ``real``.
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
