"""FSFM's losses by hand; its training cut off and resumed."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepfake_repro.methods.fsfm.networks import FSFM, build_target
from deepfake_repro.methods.fsfm.recipe import (
    build_optimizer,
    momentum_at,
    neighbours_agree,
    normalised_patches,
    patch_errors,
    patchify,
    reconstruct,
    reconstruction_losses,
    save_checkpoint,
    similarity_loss,
    unpatchify,
)
from deepfake_repro.training import checkpoints
from deepfake_repro.training.detector import build_detector
from deepfake_repro.training.transforms import Normalisation
from support.toy_pretraining import (
    COUNT,
    FACE,
    MASK,
    PATCH,
    SMALL,
    Faces,
    encoder,
    hidden,
    noise,
    run,
    small,
)

ROOT = Path(__file__).resolve().parents[3]
NORM = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_patches_are_rows_of_pixels_with_channels_last() -> None:
    images = noise(2, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    for position in range(6):
        top, left = 2 * (position // 3), 2 * (position % 3)
        expected = [
            images[1, c, top + y, left + x].item()
            for y in range(2)
            for x in range(2)
            for c in range(3)
        ]
        assert patches[1, position].tolist() == expected
    square = noise(2, 3, FACE, FACE)
    assert torch.equal(unpatchify(patchify(square, PATCH), PATCH), square)


def test_losses_equal_sums_written_as_loops() -> None:
    images, pred, facial = noise(2, 3, FACE, FACE), noise(2, COUNT, 192, seed=2), hidden([0, 3], [])
    mask_sum = face_sum = 0.0
    for image in range(2):
        for position in range(COUNT):
            patch = patchify(images, PATCH)[image, position].tolist()
            mean = sum(patch) / 192
            deviation = math.sqrt(sum((value - mean) ** 2 for value in patch) / 191 + 1e-6)
            target = [(value - mean) / deviation for value in patch]
            error = (
                sum(
                    (p - t) ** 2
                    for p, t in zip(pred[image, position].tolist(), target, strict=True)
                )
                / 192
            )
            mask_sum += error * bool(MASK[image, position])
            face_sum += error * bool(facial[image, position])
    losses = reconstruction_losses(
        patch_errors(pred, normalised_patches(images, PATCH)), MASK, facial
    )
    assert [loss.item() for loss in losses] == pytest.approx(
        [mask_sum / 16, face_sum / 2], rel=1e-5
    )


def test_batch_without_the_region_has_no_facial_loss() -> None:
    pred = noise(2, COUNT, 192).requires_grad_()
    masked, facial = reconstruction_losses(
        patch_errors(pred, torch.zeros(2, COUNT, 192)), MASK, hidden([], [])
    )
    (masked + facial).backward()
    assert facial.item() == 0 and torch.isfinite(pred.grad).all()


def test_similarity_loss_by_hand() -> None:
    query, key = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[5.0, 0.0], [8.0, -6.0]])
    assert similarity_loss(query, key).item() == pytest.approx(-0.5 * (1 + 0) / 2)


@torch.no_grad()
def test_nearest_neighbours_of_the_same_video_are_counted() -> None:
    vectors = torch.tensor(
        [[1.0, 0.0], [9.0, 1.0], [0.0, 1.0], [1.0, 9.0], [-1.0, 0.2]]
    )  # length does not matter
    assert (
        neighbours_agree(vectors, ["a", "a", "b", "b", "a"]) == 4 / 5
    )  # the last one lies nearest to b's first
    assert neighbours_agree(vectors, ["a", "b", "c", "d", "e"]) == 0


def test_reconstruction_shows_visible_patches_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    online, images = small(), noise(2, 3, FACE, FACE)
    painted = patchify(reconstruct(online, images, MASK), PATCH)
    truth = patchify(images, PATCH)
    assert (
        torch.equal(painted[~MASK], truth[~MASK])
        and not torch.isclose(painted[MASK], truth[MASK]).all(1).any()
    )
    monkeypatch.setattr(
        online, "forward", lambda seen, mask: (normalised_patches(seen, PATCH), None)
    )
    torch.testing.assert_close(reconstruct(online, images, MASK), images, rtol=1e-4, atol=1e-5)


def test_momentum_rises_from_its_start_to_one() -> None:
    assert [momentum_at(step, 100) for step in (0, 50, 100)] == pytest.approx([0.996, 0.998, 1.0])
    assert momentum_at(25, 100) == pytest.approx(1 - 0.002 * (1 + math.cos(math.pi / 4)))


@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_vectors_do_not_decay_frozen_tables_are_left_out_and_the_encoder_has_its_rate(
    rate: float,
) -> None:
    online = small()
    groups = build_optimizer(online, replace(SMALL, encoder_rate=rate)).param_groups
    names = {id(p): name for name, p in online.named_parameters()}
    actual = {
        names[id(p)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    assert actual.keys() == {name for name, p in online.named_parameters() if p.requires_grad}
    kept = {*encoder().state_dict(), "norm.weight", "norm.bias"}
    assert actual == {
        name: (rate if name in kept else 1.0, 0.05 if online.get_parameter(name).ndim > 1 else 0.0)
        for name in actual
    }
    assert groups[0]["betas"] == (0.9, 0.95)


def test_the_encoder_moves_by_its_rate(tmp_path: Path) -> None:
    """Adam's first step is its rate times the sign of the gradient, so after one step the moves are
    as the rates.
    """
    moved = {}
    for rate in (1.0, 0.1):
        recipe = replace(
            SMALL, epochs=1, warmup_epochs=0, encoder_rate=rate, batch_size=12, weight_decay=0.0
        )
        online = small()
        before = {name: p.detach().clone() for name, p in online.named_parameters()}
        run(tmp_path / str(rate), online, recipe=recipe)
        moved[rate] = {
            name: (p - before[name]).abs().max().item() for name, p in online.named_parameters()
        }
    for name, scale in (("blocks.0.mlp.fc1.weight", 0.1), ("decoder_pred.weight", 1.0)):
        assert moved[0.1][name] == pytest.approx(scale * moved[1.0][name], rel=1e-3)


def test_history_holds_the_losses_their_weighted_sum_and_the_schedules(tmp_path: Path) -> None:
    recipe = replace(SMALL, facial_weight=0.3)
    history = run(tmp_path, small(recipe=recipe), recipe=recipe).history
    assert list(history) == [
        "epoch",
        "loss",
        "masked",
        "facial",
        "similarity",
        "learning_rate",
        "momentum",
    ]
    expected = history["masked"] + 0.3 * history["facial"] + 0.1 * history["similarity"]
    torch.testing.assert_close(
        torch.tensor(history["loss"]), torch.tensor(expected), rtol=1e-5, atol=1e-5
    )
    # 3 steps an epoch; the last ones are 2 of 3 warm-up steps, then steps 2 and 5 of a half cosine
    # of 6.
    rates = [1e-3 * 2 / 3, *(0.5e-3 * (1 + math.cos(math.pi * step / 6)) for step in (2, 5))]
    assert history["learning_rate"].tolist() == pytest.approx(rates)
    assert history["momentum"].tolist() == pytest.approx(
        [momentum_at(step, 9) for step in (2, 5, 8)]
    )


def test_training_learns_and_moves_all_but_the_tables(tmp_path: Path) -> None:
    online, recipe = small(), replace(SMALL, epochs=8)
    before = {name: tensor.clone() for name, tensor in online.state_dict().items()}
    losses = run(tmp_path, online, recipe=recipe).history["loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    still = {
        name for name, tensor in online.state_dict().items() if torch.equal(tensor, before[name])
    }
    assert still == {"pos_embed", "rep_decoder_pos_embed", "decoder_pos_embed"}


def test_a_run_cut_off_and_resumed_equals_a_whole_one(tmp_path: Path) -> None:
    whole, halves = small(), small()
    expected = run(tmp_path / "whole", whole).history

    def stop(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halves", halves, report=stop)
    lines: list[str] = []
    halves = small(seed=77)  # whatever it began with, the checkpoint decides
    result = run(tmp_path / "halves", halves, report=lines.append)
    assert lines[0] == "resumed after step 6/9 from halves" and len(lines) == 2
    assert result.history.equals(expected)
    assert all(
        torch.equal(tensor, whole.state_dict()[name])
        for name, tensor in halves.state_dict().items()
    )


def test_a_run_that_fails_in_the_midst_of_an_epoch_goes_on_from_the_last_step_kept(
    tmp_path: Path,
) -> None:
    class Failing(Faces):
        reads = 0

        def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, int]:
            self.reads += 1
            if self.reads == 23:  # step 6 of 9, the last of epoch 2; a checkpoint lies after step 4
                raise KeyboardInterrupt
            return super().__getitem__(item)

    whole, lines = small(), []
    expected = run(tmp_path / "whole", whole).history
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", small(), faces=Failing())
    again = small(seed=77)
    assert run(tmp_path / "cut", again, report=lines.append).history.equals(expected)
    assert lines[0] == "resumed after step 4/9 from cut"
    assert all(
        torch.equal(tensor, whole.state_dict()[name]) for name, tensor in again.state_dict().items()
    )


def test_resuming_restores_the_target_too(tmp_path: Path) -> None:
    run(tmp_path, online := small())
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    parts = saved["parts"]
    assert set(parts["target"]) == set(build_target(online, SMALL).state_dict())
    assert any(
        not torch.equal(tensor, parts["model"][name]) for name, tensor in parts["target"].items()
    )


def test_non_finite_loss_names_the_crops(tmp_path: Path) -> None:
    recipe = replace(SMALL, batch_size=12)
    with pytest.raises(
        ValueError, match=r"^loss is nan on the batch of crops \[[\d, ]*\b7\b[\d, ]*\]"
    ) as error:
        run(tmp_path, small(), faces=Faces(poison=7), recipe=recipe)
    assert "lower pretrain.learning_rate" in str(error.value) and "\n" not in str(error.value)


def test_warm_up_must_end_before_training_does(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"pretrain.warmup_epochs is 3: keep it below pretrain.epochs, 3"
    ):
        run(tmp_path, small(), recipe=replace(SMALL, warmup_epochs=3))


@pytest.mark.parametrize(
    "architecture, depth, size",
    [("vit_base_patch16_224", 1, 32), ("vit_small_patch14_dinov2", 3, 112)],
)
def test_saved_weights_start_a_detector_with_the_same_encoder(
    tmp_path: Path, architecture, depth, size
) -> None:
    """The second layout is the demo's: LayerScale keys, a patch of 14."""
    shape = {"depth": depth, "input_size": size}
    torch.manual_seed(0)
    online = FSFM(build_detector(architecture, 2, **shape).encoder, replace(SMALL, rep_heads=6))
    save_checkpoint(online, tmp_path, NORM, SMALL)
    detector = build_detector(architecture, 6, **shape).eval()
    assert checkpoints.load_fsfm(detector, tmp_path / "checkpoint.pth") == NORM
    loaded = detector.encoder.state_dict()
    expected = {name: tensor for name, tensor in online.state_dict().items() if name in loaded}
    assert set(loaded) - set(expected) == checkpoints.FRESH
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in expected.items())
    images = noise(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(
            online.norm(detector.encoder.forward_features(images)), online.eval().tokens(images)
        )


def test_saved_file_has_the_released_form_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_checkpoint(small(), tmp_path / name, NORM, SMALL)
    files = [(tmp_path / name / "checkpoint.pth").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(tmp_path / "one" / "checkpoint.pth", weights_only=True)
    assert set(content) == {"model", "epoch", "args", "heads"} and content["heads"] == 3
    assert content["args"].mask_ratio == 0.75
    constants = json.loads(
        (tmp_path / "one" / "pretrain_ds_mean_std.txt").read_text().splitlines()[0]
    )
    assert constants == {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
