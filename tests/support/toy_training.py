"""A toy of fine-tuning: crops that tell real from fake by colour, a recipe of seconds, one run."""

import numpy as np
import torch
from lightning_fabric import Fabric

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.methods.finetune.recipe import build_objective, fine_tune
from deepfake_repro.project.params import Variant
from deepfake_repro.project.recipes import Loss, Train
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.loading import CropDataset, evaluation_loader, training_loader
from deepfake_repro.training.transforms import (
    Normalisation,
    evaluation_transform,
    training_transform,
)

RECIPE = Train(
    architecture="vit_tiny_patch16_224",
    depth=1,
    input_size=32,
    augmentation="windows",
    epochs=3,
    warmup_epochs=1,
    batch_size=16,
    learning_rate=1e-3,
    min_learning_rate=1e-5,
    weight_decay=0.05,
    layer_decay=0.75,
    drop_path=0.2,
    head_std=0.02,
    triplet_labels="attribution",
    selection="total",
    balance="none",
    precision="32-true",
    compile=False,
    fused=True,
    channels_last=False,
    devices=1,
    workers=0,
    checkpoint_steps=4,
)
BATCH_ALL = Variant(name="BA", init="imagenet", loss=Loss(name="batch_all", margin=1.0, weight=0.2))
NORM = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CROPS, TRAIN, VALIDATION, FRESH = 224, slice(0, 96), slice(96, 128), slice(128, 224)
LABELS = np.arange(CROPS) % 2


def toy_store(folder) -> CropStore:
    """224 crops of noise; the odd ones (fake) are redder. All are 40 × 40, so that windows
    differ.
    """
    rows, rng = [], np.random.default_rng(0)
    for number in range(CROPS):
        image = rng.integers(60, 180, (40, 40, 3), dtype=np.uint8)
        image[..., 0] += np.uint8(40 * LABELS[number])
        rows.append(
            {
                "video_id": f"toy/{number:03d}",
                "frame": 0,
                "seconds": 0.0,
                "face": 0,
                "x0": 0.0,
                "y0": 0.0,
                "x1": 40.0,
                "y1": 40.0,
                "score": 1.0,
                "landmarks": [0.0] * 10,
                "width": 40,
                "height": 40,
                "image": encode(image, "png"),
            }
        )
    write_part(folder / "toy.arrow", rows)
    return CropStore(folder)


def data(store, part, transform, labels=LABELS):
    return CropDataset(store, np.arange(CROPS)[part], transform, labels[part])


def run(
    store,
    scratch,
    *,
    seed=0,
    recipe=RECIPE,
    variant=BATCH_ALL,
    labels=LABELS,
    report=lambda line: None,
    change=lambda image: image,
    fabric=None,
    workers=0,
):
    """One run of ``fit`` on the toy crops; ``change`` is applied to each augmented training
    crop.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    part = fabric.global_rank, fabric.world_size
    augment = training_transform("windows", 32, NORM)
    crops = data(store, TRAIN, lambda image: change(augment(image)), labels)
    train = training_loader(crops, recipe.batch_size, workers, seed, *part)
    held_out = data(store, VALIDATION, evaluation_transform("windows", 32, NORM), labels)
    validation = evaluation_loader(held_out, 16, workers, *part)
    torch.manual_seed(seed)
    model = build(
        recipe.architecture,
        2,
        depth=recipe.depth,
        input_size=32,
        drop_path=recipe.drop_path,
        head_std=recipe.head_std,
    )
    return model, fine_tune(
        model,
        train,
        validation,
        build_objective(variant, recipe),
        recipe,
        seed=seed,
        scratch=scratch,
        fabric=fabric,
        report=report,
    )
