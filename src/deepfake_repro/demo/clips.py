"""Clips: a still in motion under a camera's conditions.

Real and fake take the same path through warp, resampling and encoding. What a manipulation does
not touch (motion, light, noise, duration, encoding) depends only on the *take* (corpus, person,
number), so a fake and its real differ in nothing else.
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
from PIL import Image

from ..faces.landmarks import OVAL
from .exact import (
    blurred,
    doubled,
    from_yuv420,
    mixed,
    resized,
    rounded,
    sample,
    sample_doubled,
    to_bytes,
    transformed,
    yuv420,
)
from .manipulations import WILD, Layer
from .people import FACE_HEIGHT, Still
from .warps import displacement, pixels, similarity

WIDTH = 320
HEIGHT = 240
MIDDLE = (WIDTH / 2, HEIGHT * 0.5)  # where the still's face is placed in the frame, (x, y) pixels
FRAMES_PER_SECOND = 4
FOCUS = (0.2, 1.0)  # blur by the lens, pixels: reals differ in sharpness, too
_GAIN = 4096  # gains are whole multiples of 1 / 4096
_GREY = 64  # light and noise are whole multiples of 1 / 64 grey level
_SPREAD = 147.8  # standard deviation of the sum of four uniform bytes


def take_seed(*parts: object) -> int:
    """Hash names into a seed that is stable across runs, platforms and Python versions."""
    return crc32("/".join(map(str, parts)).encode())


@dataclass(frozen=True)
class Camera:
    """Capture conditions of one take: motion amplitudes, light, colour, noise, compression."""

    shift: np.ndarray  # [2, 2] amplitude of slow and fast motion, pixels
    phase: np.ndarray  # [6] phases of the motions
    turn: float  # radians
    expression: float  # share of the way to the second expression
    curve: np.ndarray  # [256, 1, 3] uint8 tone curve per channel
    light: np.ndarray  # [H, W, 1] int32 gain in units of 1 / 4096
    noise: float  # standard deviation, grey levels
    qp: int  # x264 quantiser: larger is coarser
    focus: float  # blur of the picture, pixels
    wild: tuple[str, ...]  # post-processing steps, for in-the-wild corpora


def camera(corpus: str, target: str, take: int) -> Camera:
    """Draw the conditions of a take; each corpus has its own range of light, noise, compression.

    The order of the draws is part of the benchmark: every byte of the clips depends on it.
    """
    style = np.random.default_rng(take_seed("corpus", corpus))
    warmth = style.uniform(-0.05, 0.05)
    noise = style.uniform(0.8, 2.2)
    crf = style.integers(21, 26)
    rng = np.random.default_rng(take_seed(corpus, target, take))
    curve = _tone_curve(rng, warmth)
    light = _light(rng)
    return Camera(
        shift=rng.uniform(np.array([[3.0, 2.0], [0.5, 0.5]]), np.array([[14.0, 8.0], [2.0, 2.0]])),
        phase=rng.uniform(0, 2 * np.pi, 6),
        turn=rng.uniform(0.01, 0.06),
        expression=rng.uniform(0.15, 0.45),
        curve=curve,
        light=light,
        noise=noise * rng.uniform(0.5, 1.6),
        qp=int(crf + rng.integers(-3, 6)),
        wild=_post_processing(rng) if corpus in WILD else (),
        focus=rng.uniform(*FOCUS),
    )


def _tone_curve(rng: np.random.Generator, warmth: float) -> np.ndarray:
    levels = np.arange(256) / 255
    gains = (
        rng.uniform(0.85, 1.1) * np.array([1 + warmth, 1, 1 - warmth]) * rng.uniform(0.97, 1.03, 3)
    )
    curve = levels[:, None] ** rng.uniform(0.85, 1.2) * gains * 255
    return np.clip(rounded(curve), 0, 255).astype(np.uint8)[:, None, :]


def _light(rng: np.random.Generator) -> np.ndarray:
    """Draw a light that falls off linearly in one direction."""
    angle = rng.uniform(0, 2 * np.pi)
    strength = rng.uniform(0, 0.25)
    ys, xs = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    light = 1 + strength * (rounded(np.cos(angle)) * xs + rounded(np.sin(angle)) * ys)
    return np.rint(light * _GAIN).astype(np.int32)[..., None]


def _post_processing(rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(rng.choice(list(STEPS), size=2, replace=False).tolist())


class Motion:
    """Map from frame pixels at time t to the still: head motion plus drift between expressions."""

    def __init__(self, still: Still, towards: Still, conditions: Camera) -> None:
        self.camera = conditions
        self.centre = still.centre
        pose = similarity(towards.points[list(OVAL)], still.points[list(OVAL)])
        drift = still.points - transformed(pose, towards.points)
        self.grid = pixels((HEIGHT, WIDTH)) - MIDDLE
        at = still.points - self.centre + MIDDLE
        self.field = displacement(at, drift, (HEIGHT, WIDTH))

    def pose(self, seconds: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Return rotation ``[2, 2]``, shift ``[2]`` (pixels) and expression amplitude at a time."""
        conditions = self.camera
        turn = 2 * np.pi * seconds
        slow = conditions.shift[0] * np.sin(0.23 * turn + conditions.phase[:2])
        fast = conditions.shift[1] * np.sin(0.9 * turn + conditions.phase[2:4])
        angle = conditions.turn * np.sin(0.31 * turn + conditions.phase[4])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        amplitude = conditions.expression * (1 - np.cos(0.4 * turn + conditions.phase[5])) / 2
        return rounded(rotation), rounded(slow + fast), float(rounded(amplitude))

    def map(self, seconds: float) -> np.ndarray:
        """Return the position on the still of each frame pixel: float64 ``[HEIGHT, WIDTH, 2]``."""
        rotation, shift, amplitude = self.pose(seconds)
        to_still = np.column_stack([rotation.T, self.centre + shift])
        return transformed(to_still, self.grid) + amplitude * self.field

    def face_box(self, points: np.ndarray, seconds: float) -> np.ndarray:
        """Return the box (x0, y0, x1, y1) of the face oval in the frame at a time, pixels."""
        rotation, shift, _ = self.pose(seconds)
        to_frame = np.column_stack([rotation, MIDDLE])
        oval = transformed(to_frame, points[list(OVAL)] - self.centre - shift)
        return np.concatenate([oval.min(0), oval.max(0)])


def render(
    still: Still, motion: Motion, layer: Layer | None, seed: int, times: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield frames RGB uint8 ``[HEIGHT, WIDTH, 3]`` at the given seconds.

    With a ``layer``, they show the fake of the same take.
    """
    conditions = motion.camera
    picture = doubled(still.image)
    generated = None if layer is None else doubled(layer.image)
    for number, seconds in enumerate(times):
        rng = np.random.default_rng([seed, number])
        noise = _noise(rng, conditions.noise)
        jitter = rounded(rng.normal(0, 1, 2))
        flicker = float(rounded(rng.normal(0, 0.006)))
        source = motion.map(seconds)
        frame = _expose(_look(picture, source), conditions, noise)
        if layer is not None and generated is not None:
            shaken = source + jitter * layer.recipe.jitter
            grain = np.rint(noise * layer.recipe.grain).astype(np.int32)
            face = _expose(_look(generated, shaken), conditions, grain, 1 + flicker)
            frame = mixed(face, frame, sample(layer.mask, shaken))
        yield post_process(frame, conditions.wild, seed)


def _noise(rng: np.random.Generator, deviation: float) -> np.ndarray:
    """Draw sensor noise int32 ``[H, W, 1]``, in units of 1 / 64 grey level.

    The sum of four uniform bytes is nearly Gaussian, and exact.
    """
    total = rng.integers(0, 256, (4, HEIGHT, WIDTH), np.uint8).sum(0, dtype=np.int32) - 510
    return np.rint(total * (deviation * _GREY / _SPREAD)).astype(np.int32)[..., None]


def _look(image: np.ndarray, source: np.ndarray) -> np.ndarray:
    return sample_doubled(image, source, cv2.BORDER_REPLICATE)


def _expose(
    image: np.ndarray, conditions: Camera, noise: np.ndarray, gain: float = 1.0
) -> np.ndarray:
    """Apply tone curve, light and sensor noise of a take."""
    lit = (cv2.LUT(image, conditions.curve) * conditions.light) >> 6  # 1 / 64 grey level
    lit = (lit * round(gain * _GAIN)) >> 12
    return to_bytes((lit + noise) >> 6)


def post_process(frame: np.ndarray, steps: tuple[str, ...], seed: int) -> np.ndarray:
    """Degrade a frame as social media do; the same for every frame of a clip."""
    rng = np.random.default_rng([seed, 1])
    for step in steps:
        frame = STEPS[step](frame, rng)
    return frame


def _resized(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return resized(_smaller(frame, rng.uniform(0.5, 0.75), "area"), (WIDTH, HEIGHT), "cubic")


def _smaller(frame: np.ndarray, share: float, how: str) -> np.ndarray:
    return resized(frame, (round(WIDTH * share), round(HEIGHT * share)), how)


def _blurred(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return blurred(frame, rng.uniform(0.7, 1.2))


def _jpeg(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    quality = int(rng.integers(35, 65))
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _recoloured(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = (frame[..., :1].astype(np.int64) + frame[..., 1:2] + frame[..., 2:]) / 3
    return to_bytes(grey + (frame - grey) * rng.uniform(0.3, 1.6))


def _screenshot(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Show the video as in an app: a little smaller, with bars above and below."""
    small = _smaller(frame, rng.uniform(0.82, 0.92), "bilinear")
    height, width = small.shape[:2]
    canvas = np.full_like(frame, int(rng.integers(10, 40)))
    y = (HEIGHT - height) // 2
    x = (WIDTH - width) // 2
    canvas[y : y + height, x : x + width] = small
    bar_end = (x + int(width * 0.4), HEIGHT - y + 7)
    cv2.rectangle(canvas, (x, HEIGHT - y + 4), bar_end, (200, 60, 60), -1)
    return canvas


STEPS = {
    "resize": _resized,
    "blur": _blurred,
    "jpeg": _jpeg,
    "colour": _recoloured,
    "screenshot": _screenshot,
}


ENCODER = "mbtree=0:cpu-independent=1:weightp=0:aq-mode=0"
"""Settings of x264 without which its decisions depend on addresses, processor or rounding."""


def encode(frames: Iterator[np.ndarray], qp: int, target: Path | io.BytesIO) -> None:
    """Write H.264 in mp4, with one thread and no clock: the same frames give the same bytes.

    The quantiser is constant: x264's rate control computes with floating-point powers.
    """
    file = str(target) if isinstance(target, Path) else target
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "libx264",
            rate=Fraction(FRAMES_PER_SECOND),
            options={
                "qp": str(qp),
                "preset": "veryfast",
                "threads": "1",
                "x264-params": ENCODER,
            },
        )
        stream.width = WIDTH
        stream.height = HEIGHT
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(yuv420(frame), format="yuv420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def decoded(frames: Iterator[np.ndarray], qp: int) -> list[np.ndarray]:
    """Return the frames after H.264 compression, as those that face sequences are cut from."""
    memory = io.BytesIO()
    encode(frames, qp, memory)
    memory.seek(0)
    with av.open(memory, "r") as container:
        return [from_yuv420(frame.to_ndarray()) for frame in container.decode(video=0)]


def face_crop(frame: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Cut a square of 1.3 times the face height around the box's centre, ``size`` pixels wide."""
    corner = (box[:2] + box[2:]) / 2 - 0.65 * FACE_HEIGHT
    step = 1.3 * FACE_HEIGHT / size
    source = pixels((size, size)) * step + corner
    return sample(frame, source, cv2.BORDER_REPLICATE)
