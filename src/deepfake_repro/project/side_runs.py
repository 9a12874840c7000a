"""Blocks of ``params.yaml`` for what is run beside the main results; read by ``params``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Study:
    """A side study: the same pipeline for some rows and seeds, once for each option's values of ``params.yaml``."""

    question: str
    profile: str
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    options: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Rehearsal:
    """``make rehearse``: the paper profile on miniature corpora, with ``values`` of ``params.yaml`` in place of its own.

    ``without_gpu``: further values where there is no GPU.
    """

    miniatures: str
    values: Mapping[str, Any]
    without_gpu: Mapping[str, Any]
