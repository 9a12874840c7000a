"""Damaged metadata gives a one-line error or a report, never a wrong label or another exception."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_repro.corpora import ADAPTERS
from support.official_trees import TREES, fill, write

Damage = Callable[[bytes, random.Random], bytes]
SCALE = dict.fromkeys(TREES, 0.01) | {
    "dfdc": 0.0005,
    "forgerynet": 0.001,
    "dfeval2024": 0.02,
    "itw": 0.02,
}
# The files that a user might damage. Labels of the first four come from folders, whatever the file
# says.
METADATA = {
    "ffpp": "splits/val.json",
    "celebdf2": "List_of_testing_videos.txt",
    "forgerynet": "Training/video_list.txt",
    "df40": "Celeb-DF-v2/List_of_testing_videos.txt",
    "fakeavceleb": "FakeAVCeleb_v1.2/meta_data.csv",
    "dfdc": "test/labels.csv",
    "dfeval2024": "video-metadata-publish.csv",
    "itw": "manifest.csv",
}
BY_FOLDER = ("ffpp", "celebdf2", "forgerynet", "df40", "fakeavceleb")


def labels(corpus: str, root: Path) -> dict[str, int]:
    """Path -> label; or empty for an error, which must be of the two kinds and one line long."""
    try:
        table, _ = ADAPTERS[corpus].index(root)
    except (ValueError, FileNotFoundError) as error:
        assert str(error).strip() and "\n" not in str(error), str(error)
        return {}
    return dict(zip(table["path"], table["label"], strict=True))


@pytest.fixture(scope="module")
def trees(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Path, bytes, dict[str, int]]]:
    """``trees(corpus)``: root, its metadata as released, the true labels."""
    made = {}
    for corpus, name in METADATA.items():
        root = TREES[corpus](tmp_path_factory.mktemp(corpus), SCALE[corpus])
        made[corpus] = (root, (root / name).read_bytes(), labels(corpus, root))
        assert made[corpus][2], corpus
    return lambda corpus: made[corpus]


def some_lines(content: bytes, draw: random.Random) -> bytes:
    return b"\n".join(line for line in content.split(b"\n") if draw.random() < 0.7)


def moved_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    return b"\n".join([lines[0], *draw.sample(lines[1:], len(lines) - 1)])


def doubled_lines(content: bytes, draw: random.Random) -> bytes:
    return b"\n".join(line for line in content.split(b"\n") for _ in range(draw.randint(1, 2)))


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def without_a_column(content: bytes, draw: random.Random) -> bytes:
    column = draw.randrange(4)
    return b"\n".join(
        b",".join(cells[:column] + cells[column + 1 :])
        for cells in (line.split(b",") for line in content.split(b"\n"))
    )


def cells_blanked(content: bytes, draw: random.Random) -> bytes:
    return b"\n".join(
        b",".join(cell if draw.random() < 0.9 else b"" for cell in line.split(b","))
        for line in content.split(b"\n")
    )


def recoded(content: bytes, draw: random.Random) -> bytes:
    text = content.decode("utf-8-sig", "replace")
    return draw.choice(
        [
            text.encode("utf-16"),
            text.encode("utf-16-be"),
            text.encode("utf-8-sig"),
            ("é" + text).encode("latin-1", "replace"),
            text.replace("\n", "\r\n").encode(),
            text.replace("\n", "\r").encode(),
            text.replace(",", ";").encode(),
            text.replace("/", "\\").encode(),
            text.upper().encode(),
            b"",
        ]
    )


def quotes_added(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + draw.choice([b'"', b'"\n', b"'", b",", b"\0", b"#"]) + content[at:]


def noise(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


STRUCTURE: tuple[Damage, ...] = (
    some_lines,
    moved_lines,
    doubled_lines,
    cut,
    without_a_column,
    cells_blanked,
    recoded,
    quotes_added,
)


@pytest.mark.parametrize("corpus", METADATA)
@settings(max_examples=80, deadline=None)
@given(
    damage=st.sampled_from(STRUCTURE), again=st.sampled_from(STRUCTURE), seed=st.integers(0, 2**32)
)
def test_damaged_structure_never_turns_a_label(trees, corpus, damage, again, seed):
    root, released, true = trees(corpus)
    draw = random.Random(seed)
    damaged = damage(released, draw)
    write(root, {METADATA[corpus]: again(damaged, draw) if damaged and seed % 2 else damaged})
    assert labels(corpus, root).items() <= true.items()


@pytest.mark.parametrize("corpus", BY_FOLDER)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_even_noise_cannot_turn_labels_that_folders_decide(trees, corpus, seed):
    root, released, true = trees(corpus)
    write(root, {METADATA[corpus]: noise(released, random.Random(seed))})
    assert labels(corpus, root).items() <= true.items()


def test_the_damages_do_damage_and_the_released_files_are_read(trees):
    for corpus in METADATA:
        root, released, true = trees(corpus)
        write(root, {METADATA[corpus]: released})
        assert labels(corpus, root) == true and len(set(true.values())) == 2
        assert all(
            damage(released, random.Random(0)) != released for damage in (some_lines, cut, noise)
        )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=True)
    | st.text(max_size=4)
    | st.sampled_from(["REAL", "FAKE", "real", "0", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["label", "is_fake", "original", "split", "a.mp4", "b.mp4"]),
            inner,
            max_size=3,
        )
    ),
)
TRUTH = {"REAL": 0, "FAKE": 1, "real": 0, "fake": 1, "0": 0, "1": 1, 0: 0, 1: 1}


@settings(max_examples=300, deadline=None)
@given(entry=JSON, whole=st.booleans())
def test_dfdc_label_is_what_its_entry_says_or_an_error(tmp_path_factory, entry, whole):
    root = tmp_path_factory.getbasetemp() / "dfdc_json"
    if not root.exists():
        fill(root, ["test/a.mp4"])
    write(root, {"test/metadata.json": json.dumps(entry if whole else {"a.mp4": entry})})
    cells = entry if not whole else entry.get("a.mp4") if isinstance(entry, dict) else None
    for path, label in labels("dfdc", root).items():
        values = [cells[key] for key in ("label", "is_fake") if key in cells]
        assert path == "test/a.mp4" and values and all(TRUTH[value] == label for value in values)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        "x",
        3,
        None,
        [["071"]],
        [["071", 54]],
        [["071", "071"]],
        [["71", "54"]],
        [["071", "054", "1"]],
        [{"a": "071"}],
        {"071": "054"},
        [["../1", "054"]],
        [["٠٧١", "054"]],
    ],
)
def test_ffpp_lists_of_another_shape(tmp_path, content):
    root = TREES["ffpp"](tmp_path, 0.01)
    write(root, {"splits/train.json": json.dumps(content)})
    if content == []:
        assert "train" not in set(ADAPTERS["ffpp"].index(root)[0]["split"])
        return
    with pytest.raises(ValueError, match=r"expected pairs such as|instead of a list"):
        ADAPTERS["ffpp"].index(root)


@pytest.mark.parametrize(
    "content",
    [[], "x", {"a": []}, {"a": {"b_Real": []}}, {"a": {"b_Real": {"test": ["id0_0000"]}}}],
)
def test_df40_json_of_another_shape(tmp_path, content):
    root = TREES["df40"](tmp_path, 0.01)
    (root / METADATA["df40"]).unlink()
    write(root, {"simswap_cdf.json": json.dumps(content)})
    label_of = labels("df40", root)
    assert isinstance(content, dict) == bool(label_of)
    assert all(label == (not path.startswith("Celeb-DF-v2/")) for path, label in label_of.items())


def test_json_that_says_two_things_of_one_video(tmp_path):
    root = fill(tmp_path, ["test/a.mp4"])
    write(root, {"test/metadata.json": '{"a.mp4": {"is_fake": 0}, "a.mp4": {"is_fake": 1}}'})
    with pytest.raises(
        ValueError,
        match=r"'test/metadata.json' is broken .'a.mp4' is listed twice with different values",
    ):
        ADAPTERS["dfdc"].index(root)


@pytest.mark.parametrize(
    "text, message",
    [
        ("path,label,label\na.mp4,real,fake\n", "'manifest.csv' has two columns 'label'"),
        ("file,label\na.mp4,real\n", "'manifest.csv' has no column 'path'"),
        ("", "'manifest.csv' has no column 'path'"),
        ('path,label\n"a.mp4,real\nb.mp4,fake\n', "'manifest.csv' line 3: .*; fix its quotes"),
        ("path;label\na.mp4;real\n", "'manifest.csv' has no column 'path'"),
        ("path,label\na.mp4,real,\n", "line 2: 3 cells for 2 columns"),
        ('path,label\na.mp4,"re\nal"\n', r"entry 1: label 're al' is not one of"),
        ("path,label,split\na.mp4,real,dev\n", "split 'dev' is not one of"),
        ("path,label,category\na.mp4,real,FS\n", "label 0 contradicts category FS"),
    ],
)
def test_manifests_that_are_refused(tmp_path, text, message):
    root = fill(tmp_path, ["a.mp4", "b.mp4"])
    write(root, {"manifest.csv": text})
    with pytest.raises(ValueError, match=message) as caught:
        ADAPTERS["itw"].index(root)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(
    path=st.text(st.sampled_from("ab./\\ :é~\0") | st.characters(codec="utf-8"), max_size=12),
    fake=st.booleans(),
)
def test_manifest_paths_of_any_text_stay_inside(tmp_path_factory, path, fake):
    root = tmp_path_factory.getbasetemp() / "manifest_paths" / "root"
    if not root.exists():
        fill(root.parent, ["a.mp4", "root/a.mp4", "root/b/a.mp4", "root/é/b.mp4"])
    quoted = path.replace('"', '""')
    write(root, {"manifest.csv": f'path,label\n"{quoted}",{int(fake)}\n'})
    for indexed, label in labels("itw", root).items():
        assert indexed in ("a.mp4", "b/a.mp4", "é/b.mp4") and label == fake
