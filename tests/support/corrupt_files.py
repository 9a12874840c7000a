"""A seeded corpus of damaged files, and a program that crops all of them.

    python tests/support/corrupt_files.py FOLDER COUNT SEED

prints a JSON list of {path, fault, crops, reason, detail} and, as its last entry, the peak memory
of the process. It runs as a process of its own so that a crash, a hang or excessive memory is
detected from outside.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import struct
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from deepfake_repro.crops import preprocess
from deepfake_repro.crops.extraction import extract
from deepfake_repro.project import params

ASSETS = Path(__file__).resolve().parents[2] / "data" / "assets"
ADDRESS_SPACE = 4 * 2**30  # larger allocations fail before they exhaust the machine
SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".png", ".txt", ".m3u8", "")
X264 = {"threads": "1", "x264-params": "mbtree=0"}  # the same bytes each time
CLIPS = {  # name -> codec, its options
    "h264.mp4": ("libx264", X264),
    "front.mp4": ("libx264", X264),
    "h264.mkv": ("libx264", X264),
    "h264.avi": ("libx264", {**X264, "bf": "0"}),
    "h264.ts": ("libx264", X264),
    "hevc.mp4": (
        "libx265",
        {"x265-params": "log-level=none:pools=none:frame-threads=1", "preset": "ultrafast"},
    ),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "av1.mp4": ("libsvtav1", {"preset": "12", "svtav1-params": "lp=1"}),
    "mjpeg.avi": ("mjpeg", {}),
    "mpeg4.mov": ("mpeg4", {}),
}
os.environ["SVT_LOG"] = "1"  # the AV1 encoder's errors only
Damage = Callable[[bytes, np.random.Generator], bytes]


def face_pictures(count: int = 25) -> list[np.ndarray]:
    """Cut RGB uint8 [96, 128, 3] pictures of one synthetic face that moves a little."""
    sheet = cv2.cvtColor(cv2.imread(str(ASSETS / "people" / "P001.jpg")), cv2.COLOR_BGR2RGB)
    return [
        cv2.resize(sheet[90 + 2 * i : 450 + 2 * i, 90:570], (128, 96), interpolation=cv2.INTER_AREA)
        for i in range(count)
    ]


def sound_files(folder: Path) -> dict[str, bytes]:
    """Make the undamaged originals by name: one clip per codec and container, two tars of faces."""
    folder.mkdir(parents=True)
    pictures = face_pictures()
    for name, (codec, options) in CLIPS.items():
        muxing = {"movflags": "faststart"} if name.startswith("front") else {}
        with av.open(
            str(folder / name), "w", options=muxing | {"fflags": "+bitexact"}
        ) as container:
            stream = container.add_stream(codec, rate=10, options=options)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    with tarfile.open(folder / "faces.tar", "w") as tar:
        for number, picture in enumerate(pictures[:6]):
            member = tarfile.TarInfo(f"faces/{number}.png")
            data = cv2.imencode(".png", picture)[1].tobytes()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    # tarfile's own "w:gz" would write the time of day into the header.
    (folder / "faces.tar.gz").write_bytes(
        gzip.compress((folder / "faces.tar").read_bytes(), mtime=0)
    )
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def bit_flips(data: bytes, rng: np.random.Generator) -> bytes:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits[rng.integers(0, len(bits), int(rng.integers(1, 200)))] ^= 1
    return np.packbits(bits).tobytes()


def header_flips(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits at either end, where containers keep their headers."""
    ends = min(len(data) // 2, 1500)
    return bit_flips(data[:ends], rng) + data[ends:-ends] + bit_flips(data[-ends:], rng)


def zero_run(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = np.sort(rng.integers(0, len(data), 2))
    return data[:start] + bytes(stop - start) + data[stop:]


def shuffled(data: bytes, rng: np.random.Generator) -> bytes:
    """Reorder the file's quarters, as a failed download may leave them."""
    quarter = -(-len(data) // 4)
    orders = ((1, 0, 3, 2), (2, 3, 0, 1), (0, 2, 1, 3), (3, 1, 2, 0))
    return b"".join(
        data[i * quarter : (i + 1) * quarter] for i in orders[int(rng.integers(len(orders)))]
    )


def empty(data: bytes, rng: np.random.Generator) -> bytes:
    return b""


def zeros(data: bytes, rng: np.random.Generator) -> bytes:
    return bytes(int(rng.integers(1, 100_000)))


def noise(data: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(1, 50_000)))


def header_only(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(4, 64))]


def other_content(data: bytes, rng: np.random.Generator) -> bytes:
    """Return other content; the play lists would make a naive reader open other files."""
    picture = cv2.imencode(
        str(rng.choice([".png", ".jpg", ".bmp"])), rng.integers(0, 255, (40, 50, 3), np.uint8)
    )[1]
    texts = [
        b"this is no video\n" * 50,
        b"<html><body>404 Not Found</body></html>\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:../sound/h264.mp4\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile ../sound/h264.mp4\n",
        picture.tobytes(),
        b"PK\x03\x04" + rng.bytes(200),
    ]
    return texts[int(rng.integers(len(texts)))]


# Format character of ``struct`` -> large or negative numbers.
EXTREMES = {"H": (65535, 30000, 16384), "B": (255,), "i": (2**31 - 1, 100_000, -1)}


def absurd_sizes(data: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite sizes, durations and counts in headers with very large or negative numbers."""
    fields = {  # mark before the number -> distance of the number, its format
        b"avc1": (28, ">HH"),
        b"hev1": (28, ">HH"),
        b"av01": (28, ">HH"),
        b"mp4v": (28, ">HH"),
        b"strf": (12, "<ii"),
        b"avih": (20, "<ii"),
        b"tkhd": (80, ">ii"),
        b"mdhd": (16, ">ii"),
        b"mvhd": (16, ">ii"),
        b"stts": (8, ">ii"),
        b"stsz": (8, ">ii"),
        b"\xb0\x82": (2, ">H"),
        b"\xba\x81": (2, ">B"),
        b"\xff\xc0": (5, ">HH"),
        b"IHDR": (4, ">ii"),
        b"\x44\x89": (2, ">i"),
        b"\x00ustar": (-134, ">ii"),
        b"strh": (24, "<ii"),
    }
    changed = bytearray(data)
    for mark, (distance, form) in fields.items():
        extremes = EXTREMES[form[-1]]
        start = data.find(mark)
        while start >= 0 and 0 <= start + distance <= len(data) - struct.calcsize(form):
            numbers = [int(rng.choice(extremes))] * (len(form) - 1)
            struct.pack_into(form, changed, start + distance, *numbers)
            start = data.find(mark, start + 1)
    return bytes(changed)


def wrong_extension(data: bytes, rng: np.random.Generator) -> bytes:
    return data


FAULTS: tuple[Damage, ...] = (
    truncated,
    truncated,
    bit_flips,
    bit_flips,
    header_flips,
    zero_run,
    shuffled,
    empty,
    zeros,
    noise,
    header_only,
    other_content,
    absurd_sizes,
    absurd_sizes,
    wrong_extension,
)


def make(folder: Path, count: int, seed: int) -> list[dict[str, str]]:
    """Write ``count`` damaged files, determined by ``seed``; return their {path, kind, fault}."""
    originals = sound_files(folder / "sound")
    rng = np.random.default_rng(seed)
    (folder / "damaged").mkdir()
    made = []
    for number in range(count):
        fault = FAULTS[number % len(FAULTS)]
        source = list(originals)[int(rng.integers(len(originals)))]
        suffix = (
            str(rng.choice(SUFFIXES)) if fault is wrong_extension else source[source.index(".") :]
        )
        path = f"damaged/{number:04d}-{source.split('.')[0]}{suffix}"
        (folder / path).write_bytes(fault(originals[source], rng))
        tar = source.startswith("faces")
        made.append(
            {
                "path": f"{path}!faces" if tar else path,
                "kind": "frames" if tar else "video",
                "fault": fault.__name__,
            }
        )
    return made


def process(folder: Path, files: list[dict[str, str]]) -> list[dict[str, object]]:
    """Crop each file as the pipeline does; return its number of crops and what was skipped."""
    options = params.load().profile("demo").crops
    detector = preprocess.detector_factory(options)()
    done = []
    for file in files:
        crops, records = extract(
            {"video_id": file["path"], "attrs": "", **file}, folder, detector, options
        )
        record = records[0] if records else {"reason": "", "detail": ""}
        done.append(
            {**file, "crops": len(crops), "reason": record["reason"], "detail": record["detail"]}
        )
    return done


def peak_memory() -> int:
    """Return this program's peak resident memory, MiB (``ru_maxrss`` includes its parent's)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main(folder: str, count: str, seed: str) -> None:
    """Make the corpus, crop it and print the results."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    cv2.setNumThreads(1)
    results = process(Path(folder), make(Path(folder), int(count), int(seed)))
    print(json.dumps([*results, {"peak_memory_mib": peak_memory()}]))


if __name__ == "__main__":
    main(*sys.argv[1:])
