"""A BibTeX file of what a score rests on: papers, detectors, face detector, software."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...detectors.manifest import ROW
from ..model import Model

ENTRIES = {
    "mylonas2025": (
        "inproceedings",
        {
            "author": "Mylonas, Stelios and Papadopoulos, Symeon",
            "title": "Improving Generalization in Deepfake Detection with Face Foundation Models "
            "and Metric Learning",
            "booktitle": "Proceedings of the 2nd International Workshop on Diffusion of Harmful "
            "Content on Online Web (DHOW '25)",
            "year": "2025",
            "doi": "10.1145/3746275.3762208",
        },
    ),
    "yermakov2025": (
        "misc",
        {
            "author": "Yermakov, Andrii and Cech, Jan and Matas, Jiri and others",
            "title": "Deepfake Detection that Generalizes Across Benchmarks",
            "year": "2025",
            "eprint": "2508.06248",
            "archiveprefix": "arXiv",
        },
    ),
    "wang2025": (
        "inproceedings",
        {
            "author": "Wang, Gaojian and others",
            "title": "{FSFM}: A Generalizable Face Security Foundation Model via Self-Supervised "
            "Facial Representation Learning",
            "booktitle": "CVPR",
            "year": "2025",
            "eprint": "2412.12032",
            "archiveprefix": "arXiv",
        },
    ),
    "shiohara2022": (
        "inproceedings",
        {
            "author": "Shiohara, Kaede and Yamasaki, Toshihiko",
            "title": "Detecting Deepfakes with Self-Blended Images",
            "booktitle": "CVPR",
            "year": "2022",
        },
    ),
    "deng2020": (
        "inproceedings",
        {
            "author": "Deng, Jiankang and Guo, Jia and Ververas, Evangelos and Kotsia, Irene and "
            "Zafeiriou, Stefanos",
            "title": "{RetinaFace}: Single-Shot Multi-Level Face Localisation in the Wild",
            "booktitle": "CVPR",
            "year": "2020",
        },
    ),
    "zhang2016": (
        "article",
        {
            "author": "Zhang, Kaipeng and Zhang, Zhanpeng and Li, Zhifeng and Qiao, Yu",
            "title": "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional "
            "Networks",
            "journal": "IEEE Signal Processing Letters",
            "year": "2016",
        },
    ),
    "guo2017": (
        "inproceedings",
        {
            "author": "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
            "title": "On Calibration of Modern Neural Networks",
            "booktitle": "ICML",
            "year": "2017",
        },
    ),
    "deepfakerepro": (
        "software",
        {
            "title": "deepfake-repro: a reproducible compendium of deepfake detection that "
            "generalises",
            "author": "{The authors of deepfake-repro}",
            "year": "2026",
            "license": "Apache-2.0",
        },
    ),
}
_NETWORKS = {"gend_clip": "yermakov2025", "fsfm": "wang2025", "sbi": "shiohara2022"}
_FACES = {"retinaface": "deng2020", "mtcnn": "zhang2016"}
_SPECIAL = re.compile(r"[\\{}%&#_$~^]")


def bibliography(models: Sequence[Model]) -> str:
    """Write BibTeX entries of everything that scores by ``models`` rest on, each once."""
    keys = list(dict.fromkeys(key for model in models for key in _keys(model)))
    entries = [_entry(key, *ENTRIES[key]) for key in [*keys, "deepfakerepro"]]
    detectors = [_detector(number, model) for number, model in enumerate(models, 1)]
    return "\n".join([*detectors, *entries])


def _keys(model: Model) -> Iterator[str]:
    network = model.recipe.network
    if network == ROW:
        yield "mylonas2025"
        row = str(((model.manifest and model.manifest.variant) or {}).get("name", ""))
        starts = {"fsfm": "wang2025", "sbi": "shiohara2022", "lnclip": "yermakov2025"}
        yield from (key for start, key in starts.items() if row.startswith(start))
    elif network in _NETWORKS:
        yield _NETWORKS[network]
    if model.crops.detector in _FACES:
        yield _FACES[model.crops.detector]
    if model.calibration:
        yield "guo2017"


def _detector(number: int, model: Model) -> str:
    """Cite the weights themselves, by what their manifest says."""
    recipe = model.recipe
    paper = f"Paper: {recipe.paper}. " if recipe.paper else ""
    fields = {
        "title": f"Weights of the detector {recipe.name}",
        "howpublished": recipe.weights.source,
        "note": f"{paper}sha256 {model.digest}",
    }
    plain = {name: _plain(text) for name, text in fields.items() if text}
    return _entry(f"detector{number}", "misc", plain)


def _plain(text: str) -> str:
    """Make text harmless for BibTeX: one line, special characters escaped or dropped."""
    line = " ".join(text.split())
    return _SPECIAL.sub(lambda match: "" if match[0] in "\\{}~^" else f"\\{match[0]}", line)


def _entry(key: str, kind: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{text}}},\n" for name, text in fields.items()]
    return f"@{kind}{{{key},\n{''.join(lines)}}}\n"
