"""Tests of code closures: they contain everything that a piece of code uses, and nothing else."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from deepfake_repro.project.code import closure
from deepfake_repro.project.code.closure import Closure, Code

FILES = {
    "__init__.py": '"""The package."""',
    "model/__init__.py": "from .build import build as build",
    "model/build.py": """
        import numpy as np
        from functools import cache, partial

        from ..project.params import Recipe
        from . import layers

        WIDTH = 4
        HEIGHT = 5

        @cache
        def build(recipe: Recipe):
            '''Build it.'''
            return layers.Dense(WIDTH).scaled(recipe.size)

        def unused():
            from ..figures import draw
            return draw(partial(np.zeros, HEIGHT))
    """,
    "model/layers.py": """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from ..figures import Never

        REGISTRY = {}

        def register(kind):
            REGISTRY[kind.__name__] = kind
            return kind

        class Base:
            '''A layer.'''
            def scaled(self, by):
                return by * _factor()

        @register
        class Dense(Base):
            def __init__(self, width):
                self.width = width

        def _factor():
            return 2

        def _idle():
            return 3

        register(Base)
    """,
    "figures.py": """
        import matplotlib.pyplot as plt

        class Never:
            pass

        def draw(values):
            plt.plot(values)
    """,
    "project/__init__.py": "",
    "project/params.py": """
        from dataclasses import dataclass

        @dataclass(frozen=True)
        class Recipe:
            size: int
            name: str = "small"
    """,
}


def write(root: Path, **changes: str) -> Path:
    """Write the small package with some files' text replaced; returns its folder."""
    for name, text in FILES.items():
        path = root / "deepfake_repro" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = changes.get(name, text).splitlines()
        path.write_text("\n".join(line.removeprefix(" " * 8) for line in lines))
    return root / "deepfake_repro"


def changed(name: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[name]
    return {name: FILES[name].replace(old, new)}


def reach(
    folder: Path, text: str = "from deepfake_repro.model import build\nbuild(1)", **options: object
) -> Code:
    return Closure(folder, **options).of_text(text)


@pytest.fixture
def plain(tmp_path: Path) -> Code:
    return reach(write(tmp_path / "plain"))


def test_names_are_followed_through_packages_modules_and_attributes(plain: Code) -> None:
    names = {name.removeprefix("deepfake_repro.") for name in plain.definitions}
    assert names == {
        "model.build:build",
        "model.build:WIDTH",
        "model.build:cache",
        "model.layers:Dense",
        "model.layers:Base",
        "model.layers:register",
        "model.layers:REGISTRY",
        "model.layers:_factor",
        "model.layers:<import>",
        "project.params:Recipe",
        "project.params:dataclass",
    }


@pytest.mark.parametrize(
    "change",
    [
        ("model/build.py", "WIDTH = 4", "WIDTH = 6"),
        ("model/build.py", "recipe.size", "recipe.size + 1"),
        ("model/build.py", "@cache\n", "\n"),
        ("model/layers.py", "return 2", "return 2.5"),
        ("model/layers.py", "by * _factor()", "by + _factor()"),
        ("model/layers.py", "class Dense(Base)", "class Dense"),
        ("model/layers.py", "register(Base)", "register(Base), register(int)"),
        ("project/params.py", '"small"', '"large"'),
    ],
)
def test_a_change_that_can_be_reached_counts(
    tmp_path: Path, plain: Code, change: tuple[str, str, str]
) -> None:
    assert reach(write(tmp_path / "changed", **changed(*change))).digest() != plain.digest()


@pytest.mark.parametrize(
    "change",
    [
        (
            "model/build.py",
            "'''Build it.'''",
            "'''Build it better.'''\n            # as described in Section 3",
        ),
        ("model/build.py", "HEIGHT = 5", "HEIGHT = 7"),
        ("model/build.py", "cache, partial", "cache, partial, reduce"),
        (
            "model/build.py",
            "layers.Dense(WIDTH)",
            "layers.Dense(\n                WIDTH,\n            )",
        ),
        ("model/layers.py", "'''A layer.'''", "'''One layer.'''"),
        ("model/layers.py", "return 3", "return 4"),
        ("model/layers.py", "import Never", "import Never, draw"),
        ("figures.py", "plt.plot", "plt.bar"),
        ("project/params.py", "size: int", "size: int\n            depth: int"),
    ],
)
def test_prose_form_and_what_cannot_be_reached_do_not(
    tmp_path: Path, plain: Code, change: tuple[str, str, str]
) -> None:
    assert reach(write(tmp_path / "changed", **changed(*change))).digest() == plain.digest()


def test_a_module_passed_on_as_a_whole_counts_as_a_whole(tmp_path: Path) -> None:
    text = "from deepfake_repro.model import layers\ngetattr(layers, 'anything')"
    names = reach(write(tmp_path), text).definitions
    assert "deepfake_repro.model.layers:_idle" in names


@pytest.mark.parametrize(
    "text",
    [
        "import deepfake_repro.model.layers as l\nl._idle()",
        "import deepfake_repro.model.layers\ndeepfake_repro.model.layers._idle()",
        "from deepfake_repro import model\nmodel.layers._idle()",
        "def later():\n    from deepfake_repro.model.layers import _idle\n    return _idle()",
    ],
)
def test_every_form_of_import_is_followed(tmp_path: Path, text: str) -> None:
    names = reach(write(tmp_path), text).definitions
    assert (
        "deepfake_repro.model.layers:_idle" in names
        and "deepfake_repro.model.build:build" not in names
    )


def test_libraries_count_with_their_pinned_versions(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("matplotlib==3.11.2\nnumpy==2.4.6\npandas==3.1.1\n")
    folder = write(tmp_path)
    used = reach(
        folder, "import pandas\nfrom deepfake_repro.figures import draw\ndraw(1)", lock=lock
    )
    assert used.libraries == {"matplotlib": "3.11.2", "pandas": "3.1.1"}
    assert reach(folder, lock=lock).libraries == {}
    other = tmp_path / "other.lock"
    other.write_text(lock.read_text().replace("3.11.2", "3.12.0"))
    newer = reach(
        folder, "import pandas\nfrom deepfake_repro.figures import draw\ndraw(1)", lock=other
    )
    assert newer.digest() != used.digest()


def test_modules_that_only_draw_can_be_left_out(tmp_path: Path) -> None:
    text = "from deepfake_repro.figures import draw\ndraw(1)"
    assert reach(write(tmp_path), text).definitions
    assert not reach(write(tmp_path), text, ignored=("figures",)).definitions


CHOICES = """
    from .registry import Registry

    def near(x):
        return x

    def far(x):
        return -x

    LOSSES = Registry("loss", {"near": near, "far": far})

    def loss(name):
        return LOSSES[name]
"""


@pytest.mark.parametrize(
    ("chosen", "reached"),
    [(None, {"near", "far"}), ({"far", "else"}, {"far"}), (set(), set())],
)
def test_of_a_registry_only_the_named_entries_count(
    tmp_path: Path, chosen: set[str] | None, reached: set[str]
) -> None:
    folder = write(tmp_path)
    (folder / "losses.py").write_text(dedent(CHOICES))
    found = reach(folder, "from deepfake_repro.losses import loss\nloss(1)", chosen=chosen)
    names = {name.rpartition(":")[2] for name in found.definitions}
    assert names - {"loss", "LOSSES"} == reached


def test_a_new_entry_of_a_registry_changes_nothing_for_others(tmp_path: Path) -> None:
    folder = write(tmp_path)
    text, file = "from deepfake_repro.losses import loss\nloss(1)", folder / "losses.py"
    file.write_text(dedent(CHOICES))
    before = reach(folder, text, chosen={"far"})
    file.write_text(dedent(CHOICES).replace('"far": far', '"far": far, "new": lambda x: 2 * x'))
    assert reach(folder, text, chosen={"far"}).digest() == before.digest()
    assert reach(folder, text, chosen={"new"}).digest() != before.digest()


def test_what_a_module_does_as_a_script_counts_where_its_name_is_used(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "script.py").write_text(
        "def used():\n    pass\n\ndef start():\n    return [__name__]\n\n"
        'def main():\n    pass\n\nif __name__ == "__main__":\n    main()\n'
    )
    prefix = "from deepfake_repro.script import "
    assert "deepfake_repro.script:main" not in reach(folder, f"{prefix}used\nused()").definitions
    assert "deepfake_repro.script:main" in reach(folder, f"{prefix}start\nstart()").definitions


def test_only_functions_of_the_package_can_be_followed() -> None:
    assert closure.code_digest(closure.code_digest) == closure.code_digest(closure.code_digest)
    with pytest.raises(
        ValueError, match=r"^pathlib.*:Path\.exists: not a function at the top level of a module of"
    ):
        closure.code_digest(Path.exists)
