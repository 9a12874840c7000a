"""Runs of preprocessing, their processes and files."""

from dataclasses import replace

import psutil

from deepfake_repro.crops import isolation
from deepfake_repro.crops.preprocess import make_crops
from support.squares import OPTIONS, Squares

ISOLATED = replace(OPTIONS, video_timeout=60)


def run(corpus, out, **settings):
    root, index = corpus
    defaults = {
        "detector_factory": Squares,
        "options": OPTIONS,
        "videos_per_part": 4,
        "progress": [].append,
    }
    return make_crops(index, {"ffpp": root}, out, **defaults | settings)


def extraction_processes():
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if isolation.__name__ in child.cmdline()
    ]


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
