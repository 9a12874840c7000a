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


def test_further_metrics_of_a_scenario_are_one_line_where_they_are_known() -> None:
    scores = json.loads((RUNS / "fsfm_ba-0" / "scores.json").read_text())
    provenance = json.loads((RUNS / "fsfm_ba-0" / "provenance.json").read_text())
    further = {
        "eer": {"df40": 12.5},
        "average_precision": {"df40": 90.0},
        "tpr_at_fpr_1": {"df40": 40.0},
        "tpr_at_fpr_5": {"df40": 55.5},
    }
    text = card("fsfm_ba-0", scores | {"further": further}, provenance)
    title = "EER / AP / TPR at 1 % FPR / TPR at 5 % FPR (%)"
    assert f"| out-of-distribution, {title} | 12.5 / 90.0 / 40.0 / 55.5 |" in text
    assert f"| in-the-wild, {title} | — / — / — / — |" in text
    older = {key: value for key, value in scores.items() if key != "further"}
    assert "EER" not in card("fsfm_ba-0", older, provenance)


def test_a_long_block_of_parameters_is_a_folded_table_of_its_values() -> None:
    scores = json.loads((RUNS / "sbi-0" / "scores.json").read_text())
    provenance = json.loads((RUNS / "sbi-0" / "provenance.json").read_text())
    text = card("sbi-0", scores, provenance)
    train = provenance["params"]["train"]
    count = len(train) - 1 + len(train["blend"])
    table, folded = text.split(f"<details><summary>train: {count} values</summary>\n\n")
    assert folded.count("\n| ") == count + 1 and folded.endswith("\n\n</details>\n")
    assert f"| epochs | {train['epochs']} |" in folded and "| blend.kernel | 5, 25 |" in folded
    assert "epochs" not in table and "| variant | name SBI" in table
    assert max(map(len, text.splitlines())) < 160


def test_there_is_a_card_for_every_run() -> None:
    text = cards(RUNS)
    assert re.findall(r"^\| `(\S+)` \| \|$", text, flags=re.M)[0] == "sbi-0"
    assert text.count("\n## ") == len(list(RUNS.glob("*/scores.json")))
