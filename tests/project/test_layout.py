"""Columns of a table: the paper's by hand, and those of a profile with one corpus of its own."""

from __future__ import annotations

from deepfake_repro.project.layout import PAPER, Layout
from deepfake_repro.project.params import load

COLUMNS = [
    "ffpp",
    "celebdf2",
    "dfdc",
    "fakeavceleb",
    "forgerynet",
    "in_distribution",
    "df40_fs",
    "df40_re",
    "df40",
    "wilddeepfake",
    "itw",
    "dfeval2024",
    "in_the_wild",
]


def test_table_3_has_thirteen_columns_in_three_scenarios() -> None:
    assert list(PAPER.sets) == COLUMNS
    assert [len(columns) for columns in PAPER.groups.values()] == [6, 3, 4]
    assert list(PAPER.averages) == ["in_distribution", "in_the_wild"]
    assert list(PAPER.groups) == ["In-distribution", "Out-of-distribution", "In-the-wild"]


def test_a_scenario_of_one_set_has_no_average_and_other_sets_keep_their_keys() -> None:
    layout = Layout({"openforensics": ("openforensics",), "miniatures": ("df40", "my_zoo")})
    assert layout.averages == {"miniatures": ("df40", "my_zoo")}
    assert layout.names == {
        "openforensics": "OpenForensics",
        "df40": "DF40",
        "my_zoo": "MY_ZOO",
        "miniatures": "Avg",
    }


def test_profiles_with_the_papers_corpora_have_the_papers_table() -> None:
    for profile in ("demo", "smoke", "paper"):
        assert load().profile(profile).layout == PAPER
    assert list(load().profile("open").layout.scenarios) == ["openforensics", "miniatures"]
