"""Learning-rate schedules, set before each step; all respect each group's ``lr_scale``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from timm.scheduler import CosineLRScheduler


class Schedule(Protocol):
    """What sets the learning rates: one of timm's schedulers, or ``StepSchedule``."""

    def step_update(self, step: int) -> None:
        """Set the rates of step 0, 1, …; called before that step."""


class StepSchedule:
    """A learning rate that is any function of the step, times each group's ``lr_scale``."""

    def __init__(self, optimizer: torch.optim.Optimizer, rate_at: Callable[[int], float]) -> None:
        self.optimizer = optimizer
        self.rate_at = rate_at

    def step_update(self, step: int) -> None:
        """Set the rates of ``step``."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate_at(step) * group.get("lr_scale", 1.0)


def warmup_cosine(
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    warmup_epochs: int,
    steps_per_epoch: int,
    floor: float,
    block: str,
) -> CosineLRScheduler:
    """Make a schedule of linear warm-up from 0, then half a cosine down to ``floor``.

    timm's scheduler multiplies by each group's ``lr_scale``; torch's own schedulers would ignore it
    and layer decay would have no effect. Raises ``ValueError``, naming the ``block`` of
    ``params.yaml``, if no epoch is left after the warm-up.
    """
    if warmup_epochs >= epochs:
        raise ValueError(
            f"{block}.warmup_epochs is {warmup_epochs}: keep it below {block}.epochs, {epochs}"
        )
    return CosineLRScheduler(
        optimizer,
        t_initial=(epochs - warmup_epochs) * steps_per_epoch,
        lr_min=floor,
        warmup_t=warmup_epochs * steps_per_epoch,
        warmup_lr_init=0.0,
        warmup_prefix=True,
        t_in_epochs=False,
    )
