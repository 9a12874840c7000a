"""Tiny networks and images for them."""

import torch

from deepfake_repro.training.detector import build_detector as build

TINY = "vit_tiny_patch16_224"


def tiny(seed=0, classes=2, depth=2, size=32):
    torch.manual_seed(seed)
    return build(TINY, classes, depth=depth, input_size=size, head_std=0.02).eval()


def images(count=3, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def only_line(info):
    """The error's message, which must be a single line."""
    message = str(info.value)
    assert "\n" not in message
    return message
