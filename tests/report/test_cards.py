"""Report cards."""

from __future__ import annotations

import json
import re
from pathlib import Path

from deepfake_repro.report.cards import card, cards
from support.reports import RUNS

ROOT = Path(__file__).resolve().parents[2]


def test_card_in_git_has_nothing_that_another_machine_would_change() -> None:
    scores = json.loads((RUNS / "fsfm_ba-0" / "scores.json").read_text())
    provenance = json.loads((RUNS / "fsfm_ba-0" / "provenance.json").read_text())
    kept = card("fsfm_ba-0", scores, provenance)
    whole = card("fsfm_ba-0", scores, provenance, measured=True)
    assert kept.startswith("## FSFM + BA, seed 0\n")
    assert provenance["environment_lock"][:16] in kept
    wild = f"{scores['auc']['in_the_wild']} / {scores['bacc']['in_the_wild']}"
    assert f"| in-the-wild, AUC / bACC (%) | {wild} |" in kept
    assert provenance["commit"] not in kept
    assert provenance["commit"] in whole
    assert f"| {provenance['seconds']} |" in whole
    other = provenance | {
        "commit": "x",
        "started": "y",
        "seconds": 1,
        "peak_memory_mib": 2,
        "hardware": {},
        "versions": {},
    }
    assert card("fsfm_ba-0", scores, other) == kept
    older = {key: value for key, value in provenance.items() if key != "energy_joules"}
    assert "| energy (J) | — |" in card("fsfm_ba-0", scores, older, measured=True)


def test_there_is_a_card_for_every_run() -> None:
    text = cards(RUNS)
    assert re.findall(r"^\| `(\S+)` \| \|$", text, flags=re.M)[0] == "sbi-0"
    assert text.count("\n## ") == len(list(RUNS.glob("*/scores.json")))
