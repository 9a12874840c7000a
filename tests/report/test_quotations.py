"""Quotations of the papers stand there word by word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.quotations import COMPARED, absent, fingerprint, normalised, quotations

TEXTS = os.environ.get("DEEPFAKE_REPRO_PAPERS", "")


def test_every_quotation_was_compared_with_the_text() -> None:
    compared = set(COMPARED.read_text(encoding="utf-8").split())
    changed = [found for found in quotations() if fingerprint(found[1]) not in compared]
    assert not changed, "compare them again: python tests/support/quotations.py TEXT…"
    assert compared == {fingerprint(words) for _, words in quotations()}


@pytest.mark.skipif(not TEXTS, reason="the papers' texts are not in the repository")
def test_every_quotation_stands_in_the_papers() -> None:
    files = map(Path, TEXTS.split(os.pathsep))
    assert not absent("\n".join(file.read_text(encoding="utf-8") for file in files))


def test_claims_decisions_and_notebooks_are_searched() -> None:
    kinds = {where.split()[0] for where, _ in quotations()}
    assert kinds == {"claim", "decision", "notebook"}
    assert absent("nothing of the kind") == list(quotations())


def test_spelling_that_a_text_export_changes_is_left_out() -> None:
    assert normalised("The Att_{categ} variant [48, 61],\ninthe-wild") == (
        normalised("the Att_categ variant in-the-wild")
    )
