"""Takes of the miniature benchmark."""

import numpy as np

TARGET, DONOR = "P006", "P008"


def smooth(shape=(240, 200)):
    """A smooth picture: resampling hardly changes it."""
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]]
    waves = [
        np.sin(xs / 19) * np.cos(ys / 23),
        np.cos(xs / 17 + ys / 31),
        np.sin(ys / 21 - xs / 29),
    ]
    return (128 + 100 * np.stack(waves, -1)).astype(np.uint8)
