"""Recipes, plan and build of the miniature corpora."""

import json
from pathlib import Path

import pytest

from deepfake_repro.demo import build
from deepfake_repro.demo.casting import Clip, plan
from deepfake_repro.demo.manipulations import RECIPES, WILD, recipe
from deepfake_repro.project import params
from deepfake_repro.project.vocabulary import TRAINING_CORPORA

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def planned() -> list[Clip]:
    """The clips of the default profile."""
    return plan(build.PEOPLE, params.load(ROOT / "params.yaml").miniature("demo").videos, 0)


def test_every_planned_method_has_a_recipe_and_every_recipe_a_plan(planned):
    used = {
        ("wild" if clip.corpus in WILD else clip.corpus, clip.method)
        for clip in planned
        if clip.label
    }
    assert used == {(corpus, method) for corpus, table in RECIPES.items() for method in table}
    for corpus, method in used:
        assert recipe(WILD[0] if corpus == "wild" else corpus, method) == RECIPES[corpus][method]


@pytest.mark.parametrize("corpus, method", [("ffpp", "simswap"), ("itw", "deepfakes")])
def test_an_unknown_method_is_an_error(corpus, method):
    with pytest.raises(
        ValueError, match=f"no recipe for method '{method}' of corpus '{corpus}'; known: "
    ):
        recipe(corpus, method)


def test_no_unseen_recipe_occurs_in_a_training_corpus():
    trained = {how for corpus in TRAINING_CORPORA for how in RECIPES[corpus].values()}
    unseen = {how for corpus in ("df40", "wild") for how in RECIPES[corpus].values()}
    assert set(RECIPES) == {*TRAINING_CORPORA, "df40", "wild"}
    assert len(trained) > 20 and not trained & unseen


def test_no_person_is_in_two_splits(planned):
    cast = [person for split in build.PEOPLE.values() for person in split]
    assert len(set(cast)) == len(cast) == 10
    for clip in planned:
        shown = {clip.target} | ({clip.donor} - {None})
        assert shown <= set(build.PEOPLE[clip.split]), clip.path
        assert clip.label == 0 or clip.donor not in (None, clip.target)


def test_every_fake_has_the_real_of_its_take(planned):
    reals = {
        (clip.corpus, clip.split, clip.target, clip.take, clip.kind)
        for clip in planned
        if not clip.label
    }
    fakes = [clip for clip in planned if clip.label]
    assert len(fakes) > 100
    assert all(
        (clip.corpus, clip.split, clip.target, clip.take, clip.kind) in reals for clip in fakes
    )


def test_the_roots_file_notes_every_byte(tmp_path):
    out = tmp_path / "mini"
    (out / build.official_name("itw")).mkdir(parents=True)
    file = out / build.official_name("itw") / "a.mp4"
    file.write_bytes(b"one")
    roots = build.write_roots(out, ["itw"])
    first = out.with_suffix(".yaml").read_text()
    assert (
        roots == {"itw": f"mini/{build.official_name('itw')}"}
        and f"  itw: {roots['itw']}\n" in first
    )
    build.write_roots(out, ["itw"])
    assert out.with_suffix(".yaml").read_text() == first
    file.write_bytes(b"two")
    build.write_roots(out, ["itw"])
    assert out.with_suffix(".yaml").read_text() != first


def test_the_digests_say_whether_these_are_the_committed_corpora(tmp_path, capsys, monkeypatch):
    target = tmp_path / "digests.json"
    file = tmp_path / "mini" / build.official_name("itw") / "a.mp4"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"one")
    monkeypatch.setattr(build, "committed_text", lambda path: "")
    assert build.write_digests(tmp_path / "mini", ["itw"], target) is None
    first = target.read_text()
    assert json.loads(first)["itw"]["bytes"] == 3
    monkeypatch.setattr(build, "committed_text", lambda path: first)
    assert build.write_digests(tmp_path / "mini", ["itw"], target)
    assert "byte for byte" in capsys.readouterr().out
    file.write_bytes(b"two")
    assert not build.write_digests(tmp_path / "mini", ["itw"], target)
    assert "NOT the committed corpora, other bytes in itw" in capsys.readouterr().out
