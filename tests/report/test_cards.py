"""Report cards."""

from __future__ import annotations

import json
import re
from pathlib import Path

from deepfake_repro.report.cards import card, cards
from support.reports import RUNS

ROOT = Path(__file__).resolve().parents[2]


def test_card_in_git_holds_nothing_that_another_machine_would_change() -> None:
    scores, facts = (
        json.loads((RUNS / "fsfm_ba-0" / f"{name}.json").read_text())
        for name in ("scores", "provenance")
    )
    kept, whole = card("fsfm_ba-0", scores, facts), card("fsfm_ba-0", scores, facts, measured=True)
    assert kept.startswith("## FSFM + BA, seed 0\n") and facts["environment_lock"][:16] in kept
    assert (
        f"| in-the-wild, AUC / bACC (%) | {scores['auc']['in_the_wild']} / {scores['bacc']['in_the_wild']} |"
        in kept
    )
    assert (
        facts["commit"] not in kept
        and facts["commit"] in whole
        and f"| {facts['seconds']} |" in whole
    )
    other = facts | {
        "commit": "x",
        "started": "y",
        "seconds": 1,
        "peak_memory_mib": 2,
        "hardware": {},
        "versions": {},
    }
    assert card("fsfm_ba-0", scores, other) == kept
    without = {
        key: value for key, value in facts.items() if key != "energy_joules"
    }  # an older record
    assert "| energy (J) | — |" in card("fsfm_ba-0", scores, without, measured=True)


def test_there_is_a_card_for_every_run() -> None:
    found = cards(RUNS)
    assert re.findall(r"^\| `(\S+)` \| \|$", found, flags=re.M)[0] == "sbi-0"
    assert found.count("\n## ") == len(list(RUNS.glob("*/scores.json")))
