"""Clips: a still in motion under a camera's conditions, real and fake through the same warp, resample and encode path.

Everything a manipulation does not touch (motion, light, noise, duration, encoding) is a function of
the *take* (corpus, person, number) alone, so a fake and its real differ in nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from zlib import crc32

import av
import cv2
import numpy as np

from ..faces.landmarks import OVAL
from .manipulations import WILD, Layer
from .people import FACE_HEIGHT, Still
from .warps import displacement, similarity

WIDTH, HEIGHT = 320, 240
FRAMES_PER_SECOND = 8


def take_seed(*parts: object) -> int:
    """A seed that depends on the given names only (stable across runs, platforms and Python versions)."""
    return crc32("/".join(map(str, parts)).encode())


@dataclass(frozen=True)
class Camera:
    """Capture conditions of one take: motion amplitudes, light, colour, noise, compression."""

    shift: np.ndarray  # [2, 2] amplitude of slow and fast motion, pixels
    phase: np.ndarray  # [6] phases of the motions
    turn: float  # radians
    expression: float  # share of the way to the second expression
    curve: np.ndarray  # [256, 1, 3] uint8 tone curve per channel
    light: np.ndarray  # [H, W, 3] float32 gain
    noise: float  # standard deviation, grey levels
    crf: int  # x264 quality: larger is coarser
    wild: tuple[str, ...]  # post-processing steps met in the wild


def camera(corpus: str, target: str, take: int) -> Camera:
    """The conditions of a take; each corpus has its own range of light, noise and compression."""
    style = np.random.default_rng(take_seed("corpus", corpus))
    warmth, noise, crf = style.uniform(-0.05, 0.05), style.uniform(0.8, 2.2), style.integers(21, 26)
    rng = np.random.default_rng(take_seed(corpus, target, take))
    levels = np.arange(256) / 255
    gains = (
        rng.uniform(0.85, 1.1) * np.array([1 + warmth, 1, 1 - warmth]) * rng.uniform(0.97, 1.03, 3)
    )
    curve = np.clip(levels[:, None] ** rng.uniform(0.85, 1.2) * gains * 255, 0, 255).astype(
        np.uint8
    )
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    ys, xs = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    light = 1 + strength * (np.cos(angle) * xs + np.sin(angle) * ys)
    steps = ("resize", "blur", "jpeg", "colour", "screenshot")
    return Camera(
        shift=rng.uniform([[3, 2], [0.5, 0.5]], [[14, 8], [2, 2]]),
        phase=rng.uniform(0, 2 * np.pi, 6),
        turn=rng.uniform(0.01, 0.06),
        expression=rng.uniform(0.15, 0.45),
        curve=curve[:, None, :],
        light=np.repeat(light[..., None], 3, 2).astype(np.float32),
        noise=noise * rng.uniform(0.5, 1.6),
        crf=int(crf + rng.integers(-3, 6)),
        wild=tuple(rng.choice(steps, size=2, replace=False).tolist()) if corpus in WILD else (),
    )


class Motion:
    """Where each frame pixel looks on the still at time t: head motion plus drift between two expressions."""

    def __init__(self, still: Still, towards: Still, conditions: Camera) -> None:
        self.camera, self.centre = conditions, still.centre
        pose = similarity(towards.points[list(OVAL)], still.points[list(OVAL)])
        drift = still.points - (towards.points @ pose[:, :2].T + pose[:, 2])
        ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        self.grid = np.stack([xs - WIDTH / 2, ys - HEIGHT * 0.5], -1)
        at = still.points - self.centre + (WIDTH / 2, HEIGHT * 0.5)
        self.field = displacement(at.astype(np.float32), drift.astype(np.float32), (HEIGHT, WIDTH))

    def pose(self, seconds: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Rotation ``[2, 2]``, shift ``[2]`` (pixels) and expression amplitude at a time."""
        c, turn = self.camera, 2 * np.pi * seconds
        slow = c.shift[0] * np.sin(0.23 * turn + c.phase[:2])
        fast = c.shift[1] * np.sin(0.9 * turn + c.phase[2:4])
        angle = c.turn * np.sin(0.31 * turn + c.phase[4])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return rotation, slow + fast, c.expression * (1 - np.cos(0.4 * turn + c.phase[5])) / 2

    def map(self, seconds: float) -> np.ndarray:
        """Map float32 ``[HEIGHT, WIDTH, 2]`` for ``cv2.remap``."""
        rotation, shift, amount = self.pose(seconds)
        looked = self.grid @ rotation.astype(np.float32) + (self.centre + shift).astype(np.float32)
        return (looked + amount * self.field).astype(np.float32)

    def face_box(self, points: np.ndarray, seconds: float) -> np.ndarray:
        """Box (x0, y0, x1, y1) of the face oval in the frame at a time, pixels."""
        rotation, shift, _ = self.pose(seconds)
        placed = (points[list(OVAL)] - self.centre - shift) @ rotation.T + (WIDTH / 2, HEIGHT * 0.5)
        return np.concatenate([placed.min(0), placed.max(0)])


def render(
    still: Still, motion: Motion, layer: Layer | None, seed: int, times: np.ndarray
) -> Iterator[np.ndarray]:
    """Frames RGB uint8 ``[HEIGHT, WIDTH, 3]`` at the given seconds; with ``layer``, the fake of the same take."""
    c = motion.camera
    for number, seconds in enumerate(times):
        rng = np.random.default_rng([seed, number])
        noise = rng.normal(0, c.noise, (HEIGHT, WIDTH)).astype(np.float32)
        jitter, flicker = rng.normal(0, 1, 2).astype(np.float32), rng.normal(0, 0.006)
        where = motion.map(seconds)
        frame = _expose(_look(still.image, where), c, noise)
        if layer is not None:
            shaken = where + jitter * layer.recipe.jitter
            face = _expose(_look(layer.image, shaken), c, noise * layer.recipe.grain, 1 + flicker)
            weight = cv2.remap(layer.mask, shaken, None, cv2.INTER_LINEAR)
            frame = cv2.blendLinear(face, frame, weight, 1 - weight)
        yield post_process(frame, c.wild, seed)


def _look(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    return cv2.remap(image, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _expose(image: np.ndarray, c: Camera, noise: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """Tone curve, light and sensor noise of a take."""
    lit = cv2.LUT(image, c.curve) * c.light
    return np.clip(lit * gain + noise[..., None], 0, 255).astype(np.uint8)


def post_process(frame: np.ndarray, steps: tuple[str, ...], seed: int) -> np.ndarray:
    """What happens to videos on their way through social media; the same for every frame of a clip."""
    rng = np.random.default_rng([seed, 1])
    for step in steps:
        if step == "resize":
            share = rng.uniform(0.5, 0.75)
            frame = cv2.resize(
                cv2.resize(frame, None, fx=share, fy=share, interpolation=cv2.INTER_AREA),
                (WIDTH, HEIGHT),
                interpolation=cv2.INTER_CUBIC,
            )
        elif step == "blur":
            frame = cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.5, 1.0))
        elif step == "jpeg":
            _, data = cv2.imencode(
                ".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 65))]
            )
            frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
        elif step == "colour":
            grey = frame.mean(2, keepdims=True)
            frame = np.clip(grey + (frame - grey) * rng.uniform(0.3, 1.6), 0, 255).astype(np.uint8)
        elif step == "screenshot":
            frame = _screenshot(frame, rng)
    return frame


def _screenshot(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The video as seen in an app: a little smaller, with bars above and below."""
    share = rng.uniform(0.82, 0.92)
    small = cv2.resize(frame, None, fx=share, fy=share, interpolation=cv2.INTER_LINEAR)
    canvas = np.full_like(frame, int(rng.integers(10, 40)))
    y, x = (HEIGHT - small.shape[0]) // 2, (WIDTH - small.shape[1]) // 2
    canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
    cv2.rectangle(
        canvas,
        (x, HEIGHT - y + 4),
        (x + int(small.shape[1] * 0.4), HEIGHT - y + 7),
        (200, 60, 60),
        -1,
    )
    return canvas


def encode(frames: Iterator[np.ndarray], crf: int, target: Path | io.BytesIO) -> None:
    """Write H.264 in mp4, one thread and no clock: the same frames give the same bytes.

    Without x264's macroblock tree, whose decisions depend on where its buffers lie in memory.
    """
    place = str(target) if isinstance(target, Path) else target
    with av.open(place, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "libx264",
            rate=Fraction(FRAMES_PER_SECOND),
            options={
                "crf": str(crf),
                "preset": "veryfast",
                "threads": "1",
                "x264-params": "mbtree=0",
            },
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def decoded(frames: Iterator[np.ndarray], crf: int) -> list[np.ndarray]:
    """The frames after H.264 compression: what a face sequence was cut from."""
    memory = io.BytesIO()
    encode(frames, crf, memory)
    memory.seek(0)
    with av.open(memory) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def face_crop(frame: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Square of 1.3 times the face height about the box's centre, scaled to ``size`` pixels."""
    centre, half = (box[:2] + box[2:]) / 2, 0.65 * FACE_HEIGHT
    matrix = np.array(
        [
            [size / (2 * half), 0, size / 2 - centre[0] * size / (2 * half)],
            [0, size / (2 * half), size / 2 - centre[1] * size / (2 * half)],
        ]
    )
    return cv2.warpAffine(
        frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
