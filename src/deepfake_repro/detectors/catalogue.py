"""Released detectors: what they are, where their files are, and how they want to be used.

Written from the public code and pages of each project (2026); no checksum is published for most of
them, so the first fetch records it. Faces are found by this package's detector, not by each
project's own, which every manifest notes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .files import Checkpoint, read_checkpoint
from .manifest import Crop, DetectorManifest, View, Weights

MIT = "MIT"
NON_COMMERCIAL = "CC BY-NC 4.0: non-commercial use only"
ACADEMIC = "academic, non-commercial use only (LICENSE of the project)"
FREE = (MIT,)
"""Licences that need no consent."""

GEND_TEMPLATE = ((0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82))
ARCFACE_TEMPLATE = (
    ((30.2946 + 8) / 112, 51.6963 / 112),
    ((65.5318 + 8) / 112, 51.5014 / 112),
    ((48.0252 + 8) / 112, 71.7366 / 112),
    ((33.5493 + 8) / 112, 92.3655 / 112),
    ((62.7299 + 8) / 112, 92.2041 / 112),
)
"""Where five landmarks lie in an aligned crop without margin (InsightFace, 112 × 112 pixels)."""

_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_FSFM = ((0.54822, 0.42341, 0.36547), (0.27892, 0.24385, 0.23493))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_OWN_FACES = "Faces are found by this package's RetinaFace, not by the authors' detector."
_FF = "FaceForensics++ (c23)"


@dataclass(frozen=True)
class Released:
    """A released detector.

    ``size``: of the download in MB; ``hub``: repository and path of its file, or ``url``; with
    neither it must be downloaded by hand from ``manifest.weights.source``.
    """

    manifest: DetectorManifest
    size: int
    hub: tuple[str, str] | None = None
    url: str = ""

    @property
    def licence(self) -> str:
        """The licence of the weights."""
        return self.manifest.weights.licence

    @property
    def is_free(self) -> bool:
        """True if the licence permits any use."""
        return self.licence.split(":")[0] in FREE


def _view(norm: tuple, fit: str, size: int, resize: int = 0, how: str = "bicubic") -> View:
    return View(size, norm[0], norm[1], fit, resize, how)


def _benchmark(side: int) -> Crop:
    """DeepfakeBench's crop: aligned, 30 % larger, the largest face of 32 frames."""
    return Crop(
        0.3, side, "aligned", "repeat", "bilinear", ARCFACE_TEMPLATE, faces="largest", frames=32
    )


FAKE_FIRST = ("fake", "real")
FOUR_CLASSES = ("real", "deepfake", "diffusion", "spoof")
"""Classes of FSFM's unified detector; P(fake) is the sum of the last three."""


def _fsfm(
    name: str,
    path: str,
    size: int,
    paper: str,
    classes: tuple[str, ...] = FAKE_FIRST,
    trained_on: str = _FF,
) -> Released:
    repository = "Wolowolo/fsfm-3c"
    manifest = DetectorManifest(
        name=name,
        network="fsfm",
        weights=Weights(
            Path(path).name, "", f"https://huggingface.co/{repository}/{path}", NON_COMMERCIAL
        ),
        classes=classes,
        crop=Crop(0.3, 0, "square", "clip", faces="surest", frames=32),
        view=_view(_FSFM, "centre", 224, 256),
        trained_on=trained_on,
        paper=paper,
        note=_OWN_FACES,
    )
    return Released(manifest, size, (repository, path))


def _benchmark_zoo(
    name: str, network: str, file: str, size: int, side: int, norm: tuple
) -> Released:
    url = f"https://github.com/SCLBD/DeepfakeBench/releases/download/v1.0.1/{file}"
    manifest = DetectorManifest(
        name=f"DeepfakeBench {name}",
        network=network,
        weights=Weights(file, "", url, NON_COMMERCIAL),
        crop=_benchmark(side),
        view=_view(norm, "stretch", side),
        trained_on=_FF,
        paper="Yan et al. 2023 (DeepfakeBench)",
        note=f"{_OWN_FACES} Alignment: least median instead of least squares.",
    )
    return Released(manifest, size, url=url)


_EXTENSIONS = "finetuned_models/FS-VFM_extensions/cross_dataset_DFD_and_DiFF"
_FS_VFM = "FT_on_FF++_c23_32frames/checkpoint-min_val_loss.pth"

GEND = Released(
    DetectorManifest(
        name="GenD CLIP ViT-L/14",
        network="gend_clip",
        weights=Weights(
            "model.safetensors", "", "https://huggingface.co/yermandy/GenD_CLIP_L_14", MIT
        ),
        crop=Crop(
            0.3, 0, "aligned", "repeat", "bilinear", GEND_TEMPLATE, faces="largest", frames=32
        ),
        view=_view(_CLIP, "centre", 224, 224),
        trained_on=_FF,
        paper="Yermakov et al. 2025, arXiv:2508.06248",
        note=f"{_OWN_FACES} Licence of the code; the page of the weights names none.",
    ),
    1216,
    ("yermandy/GenD_CLIP_L_14", "model.safetensors"),
)
GEND_TRAINING = replace(
    GEND,
    manifest=replace(
        GEND.manifest,
        name="GenD CLIP, training checkpoint",
        weights=Weights(
            "best_mAP.ckpt", "", "https://github.com/yermandy/GenD (runs/NAME/checkpoints)", MIT
        ),
        trained_on="as its run says",
        note=f"{_OWN_FACES} Written by the authors' training code (Lightning).",
    ),
    hub=None,
)
SBI = Released(
    DetectorManifest(
        name="SBI EfficientNet-B4",
        network="sbi",
        weights=Weights(
            "FFc23.tar", "", "https://github.com/mapooon/SelfBlendedImages (Google Drive)", ACADEMIC
        ),
        crop=Crop(0.25, 380, "stretched", "clip", "bilinear", faces="half", frames=32),
        view=_view(_NONE, "stretch", 380, how="bilinear"),
        aggregation="frame_max",
        trained_on="real videos of FaceForensics++",
        paper="Shiohara and Yamasaki 2022",
        note=_OWN_FACES,
    ),
    135,
)
DFDC = Released(
    DetectorManifest(
        name="DFDC winner, EfficientNet-B7",
        network="dfdc",
        weights=Weights(
            "final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36",
            "",
            "https://github.com/selimsef/dfdc_deepfake_challenge/releases/tag/0.0.1",
            MIT,
        ),
        classes=("fake",),
        crop=Crop(2 / 3, 0, "stretched", "clip", faces="all", frames=32),
        view=_view(_IMAGENET, "pad", 380),
        aggregation="confident",
        trained_on="DFDC",
        paper="Seferbekov 2020",
        note=f"{_OWN_FACES} One of seven networks whose scores the author averages.",
    ),
    267,
    url=(
        "https://github.com/selimsef/dfdc_deepfake_challenge/releases/download/0.0.1/"
        "final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36"
    ),
)
EFFORT = Released(
    DetectorManifest(
        name="Effort CLIP ViT-L/14",
        network="effort",
        weights=Weights(
            "effort_clip_L14_trainOn_FaceForensic.pth",
            "",
            "https://github.com/YZY-stack/Effort-AIGI-Detection (Google Drive)",
            NON_COMMERCIAL,
        ),
        crop=_benchmark(224),
        view=_view(_CLIP, "stretch", 224),
        trained_on=_FF,
        paper="Yan et al. 2025 (Effort)",
        note=_OWN_FACES,
    ),
    1300,
)

RELEASED: Mapping[str, Released] = {
    "gend_clip_l14": GEND,
    "gend_lightning": GEND_TRAINING,
    "fsfm_vit_b": _fsfm(
        "FSFM ViT-B/16",
        "finetuned_models/FF++_c23_32frames/checkpoint-min_val_loss.pth",
        1030,
        "Wang et al. 2025 (FSFM)",
    ),
    "fs_vfm_vit_l": _fsfm(
        "FS-VFM ViT-L/16",
        f"{_EXTENSIONS}/ViT-L_VF2_600e/{_FS_VFM}",
        3640,
        "Wang et al. 2025 (FS-VFM)",
    ),
    "fsfm_unified": _fsfm(
        "FSFM ViT-B/16, four classes",
        "finetuned_models/Unified-detector/v1_Fine-tuned_on_4_classes/checkpoint-min_train_loss.pth",
        1030,
        "Wang et al. 2025 (FSFM)",
        FOUR_CLASSES,
        "deepfakes, diffusion images and presentation attacks (unified detector, v1)",
    ),
    "sbi_c23": SBI,
    "sbi_raw": replace(
        SBI, manifest=replace(SBI.manifest, weights=replace(SBI.manifest.weights, file="FFraw.tar"))
    ),
    "dfdc_b7": DFDC,
    "dfb_efficientnet": _benchmark_zoo(
        "EfficientNet-B4", "deepfakebench_efficientnet", "effnb4_best.pth", 71, 256, _HALF
    ),
    "dfb_xception": _benchmark_zoo(
        "Xception", "deepfakebench_xception", "xception_best.pth", 88, 256, _HALF
    ),
    "dfb_clip": _benchmark_zoo(
        "CLIP ViT-B/16", "deepfakebench_clip", "clip_base_best.pth", 343, 224, _CLIP
    ),
    "effort_clip_l14": EFFORT,
}
"""Released detectors by the name that ``weights fetch`` takes."""


def describe_file(path: Path) -> DetectorManifest:
    """Return the manifest of a released file without one.

    Known by themselves are SBI's ``.tar``, GenD's safetensors and Lightning checkpoints, and
    FSFM's detector of four classes. Raises ``ValueError`` for any other file: its manifest must say
    how to use it.
    """
    if path.suffix == ".tar":
        manifest = SBI.manifest
    else:
        checkpoint = read_checkpoint(path)
        if any(name.startswith("feature_extractor.") for name in checkpoint.state):
            manifest = _describe_gend(checkpoint)
        elif has_four_classes(checkpoint):
            manifest = RELEASED["fsfm_unified"].manifest
        else:
            raise ValueError(
                f"{path}: whose weights these are cannot be seen; write a detector.json beside "
                "them (docs/weights.md)"
            )
    return replace(manifest, weights=replace(manifest.weights, file=path.name))


def has_four_classes(checkpoint: Checkpoint) -> bool:
    """Return True for a ViT of FSFM's code with a head of four classes."""
    head = checkpoint.state.get("head.bias")
    return "fc_norm.weight" in checkpoint.state and head is not None and len(head) == 4


def _describe_gend(checkpoint: Checkpoint) -> DetectorManifest:
    """Describe a GenD file: the published one, or a training checkpoint, whose input may differ."""
    if not checkpoint.args:
        return GEND.manifest
    manifest = GEND_TRAINING.manifest
    tower = "feature_extractor.vision_model.embeddings"
    patches = checkpoint.state.get(f"{tower}.patch_embedding.weight")
    positions = checkpoint.state.get(f"{tower}.position_embedding.weight")
    if patches is None or positions is None or manifest.view is None:
        return manifest  # another encoder, which its loader refuses
    side = patches.shape[-1] * math.isqrt(len(positions) - 1)
    return replace(manifest, view=replace(manifest.view, size=side, resize=side))
