"""A run over a whole index: the same bytes whatever happens to its processes, its disk and its videos."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from squares import (
    OPTIONS,
    TRAPS,
    Dropped,
    Fatal,
    Squares,
    Trapped,
    Unmakeable,
    dropped_by_the_decoder,
    index_row,
    make_corpus,
    scene,
)

from deepfake_repro.crops import isolation
from deepfake_repro.crops.isolation import ATTEMPTS, StoppedError, extractor
from deepfake_repro.crops.preprocess import make_crops, plan_parts
from deepfake_repro.crops.report import COLUMNS, crop_counts, examples, faces_of_corpora
from deepfake_repro.crops.store import CropStore
from deepfake_repro.faces.detection import detector

GUARDED = replace(OPTIONS, video_timeout=60)
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def children_find_this_folder(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent / "src")]))
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, make_clip):
    return make_corpus(tmp_path_factory.mktemp("corpus"), make_clip)


def run(corpus, out, **settings):
    root, index = corpus
    defaults = {"detector_factory": Squares, "options": OPTIONS, "videos_per_part": 4, "progress": [].append}
    return make_crops(index, {"ffpp": root}, out, **defaults | settings)


def guarded_processes():
    return [child for child in psutil.Process().children(recursive=True) if isolation.__name__ in child.cmdline()]


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("crops")
    run(corpus, out)
    return out


# --- a whole index --------------------------------------------------------------------------------

def test_everything_usable_is_kept_and_the_rest_is_listed(corpus, made):
    faces = CropStore(made).table()["video_id"].value_counts().to_dict()
    assert faces.pop("ffpp/broken") >= 1
    assert faces == {**{f"ffpp/v{n}": 3 for n in range(5)}, "ffpp/two": 4, "ffpp/sometimes": 1}
    skipped = pd.read_csv(made / "skipped.csv").set_index("video_id")["reason"].to_dict()
    assert skipped == {"ffpp/nobody": "no_face", "ffpp/text": "undecodable", "ffpp/zero": "empty",
                       "ffpp/gone": "missing", "ffpp/sometimes": "frame_without_face",
                       "ffpp/broken": "broken_off"}


def test_bytes_do_not_depend_on_workers_or_row_order(corpus, made, tmp_path):
    root, index = corpus
    lines = []
    run((root, index.iloc[::-1]), tmp_path / "guarded", options=GUARDED)
    run((root, index.iloc[::-1]), tmp_path / "two", options=GUARDED, workers=2, progress=lines.append)
    assert len(content(made)) == 5 and content(tmp_path / "guarded") == content(tmp_path / "two") == content(made)
    assert lines[0].startswith("crops: dashboard at http://127.0.0.1:")
    assert re.fullmatch(r"crops: 12/12 videos, [\d.]+ videos/s, [\d.]+ faces/s, 6 skipped records, about 0 s left",
                        lines[-1])
    assert guarded_processes() == []


def test_an_interrupted_run_is_completed_and_nothing_done_twice(corpus, made, tmp_path):
    log, out, lines = tmp_path / "log", tmp_path / "crops", []
    factory = partial(Squares, log)
    run(corpus, out, detector_factory=factory)
    everything = len(log.read_text().splitlines())
    assert everything == 5 * 3 + 2 + 3 + 3 + len(CropStore(out).rows_of("ffpp/broken"))

    log.write_text("")
    run(corpus, out, detector_factory=factory, progress=lines.append)
    assert log.read_text() == "" and lines == ["crops: 12/12 videos are done already"]

    victim = sorted(out.glob("*.arrow"))[1]
    victim.unlink()
    (out / (victim.name + ".tmp")).write_bytes(b"half")
    run(corpus, out, detector_factory=factory, progress=lines.append)
    assert 0 < len(log.read_text().splitlines()) < everything
    assert lines[1] == "crops: 8/12 videos are done already" and lines[2].startswith("crops: 12/12 videos, ")
    assert content(out) == content(made)


def test_changed_input_or_options_are_done_again_and_replace_the_old(corpus, tmp_path, make_clip):
    root, index = corpus
    mine = tmp_path / "root"
    mine.mkdir()
    for name in ("v0.mp4", "v1.mp4"):
        (mine / name).write_bytes((root / name).read_bytes())
    index = pd.DataFrame([index_row("v0.mp4"), index_row("v1.mp4")])
    run((mine, index), tmp_path / "out", videos_per_part=1)
    before = content(tmp_path / "out")
    make_clip(mine / "v1.mp4", [scene((20, 30))] * 50)
    run((mine, index), tmp_path / "out", videos_per_part=1)
    after = content(tmp_path / "out")
    assert len(after) == len(before) == 4 and len(after.keys() & before.keys()) == 3
    run((mine, index), tmp_path / "out", videos_per_part=1, options=replace(OPTIONS, margin=0.4))
    other = content(tmp_path / "out")
    assert len(other) == 4 and other.keys() & after.keys() == {"skipped.csv", "parts.csv"}
    run((mine, index), tmp_path / "out", videos_per_part=1,
        options=replace(OPTIONS, margin=0.4, max_skipped=0.5, video_timeout=9))
    assert content(tmp_path / "out") == other  # a limit is no property of a crop


def test_other_corpora_in_the_folder_are_left_alone(corpus, tmp_path):
    root, _ = corpus
    for dataset in ("df40", "dfdc"):
        index = pd.DataFrame([index_row("v0.mp4", dataset=dataset), index_row("gone.mp4", dataset=dataset)])
        make_crops(index, {dataset: root}, tmp_path, Squares, OPTIONS, progress=[].append)
    assert CropStore(tmp_path).table()["video_id"].unique().tolist() == ["df40/v0", "dfdc/v0"]
    assert len(CropStore(tmp_path, "dfdc-*.arrow")) == 3
    assert pd.read_csv(tmp_path / "skipped.csv")["video_id"].tolist() == ["df40/gone", "dfdc/gone"]


def test_too_many_skipped_videos_end_the_run_after_everything_is_written(corpus, made, tmp_path):
    with pytest.raises(ValueError, match="4 of 12 videos .* over crops.max_skipped = 0.3") as raised:
        run(corpus, tmp_path, options=replace(OPTIONS, max_skipped=0.3))
    assert all(f"ffpp/{name} (" in str(raised.value) for name in ("gone", "nobody", "text", "zero"))
    assert "\n" not in str(raised.value) and content(tmp_path) == content(made)
    run(corpus, tmp_path, options=replace(OPTIONS, max_skipped=4 / 12))


def test_wrong_settings_are_named(corpus, tmp_path):
    with pytest.raises(ValueError, match="crops.encoding = 'bmp': choose one of png, jpeg"):
        run(corpus, tmp_path, options=replace(OPTIONS, encoding="bmp"))
    with pytest.raises(ValueError, match="corpora.ffpp: .* no root folder"):
        plan_parts(corpus[1], {}, tmp_path, OPTIONS)


def test_real_detector_on_a_video_of_two_people(assets, tile, tmp_path, make_clip):
    frame = np.hstack([tile, np.full((360, 120, 3), 128, np.uint8), tile[:, ::-1]])
    make_clip(tmp_path / "two.mp4", [frame] * 11)
    factory = partial(detector, "retinaface", weights=assets / "retinaface_mobilenet025.onnx")
    options = replace(OPTIONS, detector="retinaface", size=224)
    make_crops(pd.DataFrame([index_row("two.mp4")]), {"ffpp": tmp_path}, tmp_path / "out", factory, options,
               progress=[].append)
    store = CropStore(tmp_path / "out")
    assert store.table()[["frame", "face"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    for row in range(4):
        (face,) = factory()([store.image(row)])
        # The box fills 1 / 1.3 of the crop, about its centre.
        assert np.abs(face.boxes[0] / 224 - [0.115, 0.115, 0.885, 0.885]).max() < 0.06


# --- videos that bring down what reads them -------------------------------------------------------

@pytest.fixture(scope="module")
def trapped(tmp_path_factory, make_clip):
    """A good video on each side of one that crashes, hangs or fails from its third second on."""
    root = tmp_path_factory.mktemp("trapped")
    for number in (0, 9):
        make_clip(root / f"v{number}.mp4", [scene((20, 30))] * 21)
    for number, (name, colour) in enumerate(TRAPS.items(), 1):
        make_clip(root / f"v{number}-{name}.mp4", [scene((20, 30))] * 90 + [scene((20, 30), colour=colour)] * 10)
    return root, pd.DataFrame([index_row(path.name) for path in sorted(root.iterdir())])


def test_a_video_that_crashes_or_hangs_costs_itself_only(trapped, tmp_path):
    records = []
    for name, workers in (("one", 1), ("two", 2)):
        skipped = run(trapped, tmp_path / name, detector_factory=Trapped, workers=workers, videos_per_part=3,
                      options=replace(OPTIONS, video_timeout=2))
        records.append(skipped.to_numpy().tolist())
    # The eight frames detected together before the event are kept; the ninth is among those lost with it.
    assert records[0] == records[1] == [
        ["ffpp/v1-segfault", "crashed", "SIGSEGV after 8 sampled frames"],
        ["ffpp/v2-hang", "timeout", "no answer after 8 sampled frames"],
        ["ffpp/v3-raise", "crashed", "RuntimeError: a library's own error after 8 sampled frames"]]
    assert content(tmp_path / "one") == content(tmp_path / "two")
    faces = CropStore(tmp_path / "one").table()["video_id"].value_counts().to_dict()
    assert faces == {"ffpp/v0": 3, "ffpp/v9": 3, **{f"ffpp/{name}": 8 for name in (
        "v1-segfault", "v2-hang", "v3-raise")}}


def test_they_count_against_the_limit(trapped, tmp_path):
    root, index = trapped
    with pytest.raises(ValueError, match=r"1 of 1 videos .* first ffpp/v1-segfault \(crashed\)"):
        run((root, index[index["path"].str.contains("segfault")]), tmp_path, detector_factory=Trapped,
            options=replace(GUARDED, max_skipped=0.5))


def test_a_video_left_halfway_does_not_answer_for_the_next_one(trapped):
    extract = extractor(Squares, GUARDED)
    left = extract(index_row("v1-segfault.mp4"), trapped[0])
    next(left)
    rows = [row for found, _ in extract(index_row("v0.mp4"), trapped[0]) for row in found]
    assert [(row["video_id"], row["frame"]) for row in rows] == [("ffpp/v0", frame) for frame in range(3)]
    extract.close()
    with pytest.raises(StoppedError):
        next(extract(index_row("v0.mp4"), trapped[0]))
    assert guarded_processes() == []


DROPPED = {  # a maker of detectors -> the library's words, the call, where it was met
    dropped_by_the_decoder: (r"TypeError: .*unexpected keyword argument 'metadata_errors'",
                             r"decoding\.py:\d+: opened = av\.open\(.*metadata_errors=.*\)", "first met at ffpp/v0"),
    partial(Dropped, "argument"): (r"TypeError: .*'kind'.*", r"extraction\.py:\d+: .*detector\(.*", "first met at ffpp/v0"),
    partial(Dropped, "function"): ("AttributeError: module 'cv2' has no attribute 'resized'", ".*", ".* at ffpp/v0"),
    partial(Dropped, "OpenCV's argument"): (r"error: .*'method' is an invalid keyword argument.*", ".*", ".* at ffpp/v0"),
    partial(Dropped, "module"): ("ImportError: cannot import name 'resized' from 'cv2' .*", ".*", ".* at ffpp/v0"),
    partial(Dropped, "nothing"): ("NotImplementedError: gone since version 19", ".*", ".* at ffpp/v0"),
    Unmakeable: (r"TypeError: .*'kind'.*", r"isolation\.py:\d+: detector = factory\(\)", "first met when .* was made"),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("factory", DROPPED, ids=lambda factory: getattr(factory, "__name__", "") or factory.args[0])
def test_a_call_that_a_library_has_dropped_stops_the_run_with_the_librarys_words(
        trapped, tmp_path, factory, workers):
    """No property of a video: nothing is recorded of it, and ``max_skipped`` (here: all) does not excuse it."""
    root, index = trapped
    index = index[index["path"].isin(["v0.mp4", "v9.mp4"])]
    words, call, where = DROPPED[factory]
    with pytest.raises(isolation.ProgramError, match=rf"^{words} \(at {call}; {where}\): an error of the program ") as raised:
        run((root, index), tmp_path, detector_factory=factory, options=GUARDED, workers=workers, videos_per_part=2)
    assert "\n" not in str(raised.value) and "make environment" in str(raised.value)
    assert not list(tmp_path.iterdir()) and guarded_processes() == []


def missing_weights():
    raise FileNotFoundError("no weights here; run the assets stage first")


def test_a_detector_that_cannot_be_made_ends_the_run_with_its_own_message(corpus, tmp_path):
    for workers in (1, 2):
        with pytest.raises(FileNotFoundError, match="^no weights here; run the assets stage first$"):
            run(corpus, tmp_path, detector_factory=missing_weights, options=GUARDED, workers=workers)
    assert not list(tmp_path.iterdir()) and guarded_processes() == []


def test_a_process_that_never_starts_is_an_error_not_a_skipped_video(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(isolation.sys, "executable", "false")
    with pytest.raises(RuntimeError, match=r"does not start \(exit code 1\)"):
        run(corpus, tmp_path, options=GUARDED)


def test_an_unknown_kind_is_found_before_anything_is_done(tmp_path):
    with pytest.raises(ValueError, match="ffpp/x: kind 'audio'"):
        run((tmp_path, pd.DataFrame([index_row("x.wav", "audio")])), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- processes, disks and machines that fail ------------------------------------------------------

class Runs:
    """Runs of ``squares.run_to_kill``, one after the other on the same folder until one of them finishes."""

    def __init__(self, root, base, expected):
        self.root, self.base, self.expected = root, base, expected
        self.finished, self.run, self.killed = 0, None, []

    def at_work(self):
        """The guarded processes of the run under way; a finished run is checked, another one begun."""
        while True:
            if self.run is None or self.run.poll() is not None:
                self.check()
                code = "import sys, squares; squares.run_to_kill(*sys.argv[1:])"
                self.run = psutil.Popen([sys.executable, "-c", code, self.root, self.base / str(self.finished)],
                                        stderr=subprocess.DEVNULL)
            elif found := self.run.children():
                return found
            time.sleep(0.02)

    def check(self):
        if self.run is not None and self.run.returncode != -signal.SIGKILL:
            assert self.run.returncode == 0, "a run may be killed, it may not fail"
            assert content(self.base / str(self.finished)) == self.expected
            self.finished += 1

    def kill(self, one_of, everything):
        """Kill a guarded process or the run itself, which must take the guarded ones with it."""
        self.killed.append("run" if everything else "guarded")
        victim = self.run if everything else one_of[len(self.killed) % len(one_of)]
        victim.kill()
        victim.wait()
        if everything:
            assert not psutil.wait_procs(one_of, timeout=10)[1], "processes outlived their run"

    def finish(self):
        """Let a run go on undisturbed to its end."""
        self.at_work()
        self.run.wait()
        self.check()


def test_killed_twenty_times_at_random_moments_gives_the_same_bytes(corpus, tmp_path):
    root, _ = corpus
    index = pd.DataFrame([index_row(path.name) for path in sorted(root.iterdir())])
    run((root, index), tmp_path / "calm", videos_per_part=2)
    runs, random = Runs(root, tmp_path, content(tmp_path / "calm")), np.random.default_rng(0)
    for _ in range(20):
        runs.at_work()
        time.sleep(random.uniform(0, 1.5))
        # Three deaths in one run might be at one video, which would then rightly be given up.
        everything = runs.killed[1 - ATTEMPTS:] == ["guarded"] * (ATTEMPTS - 1) or random.random() < 0.3
        runs.kill(runs.at_work(), everything)
    assert runs.killed.count("run") >= 5 and runs.killed.count("guarded") >= 5
    runs.finish()


@pytest.fixture
def cluster():
    """Two worker processes behind a scheduler, as somebody else's cluster would be; one death is a task's limit."""
    from dask import config
    from distributed import LocalCluster
    with config.set({"distributed.scheduler.allowed-failures": 1}), LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        yield cluster


def test_a_lost_worker_of_a_cluster_loses_its_part_only(corpus, tmp_path, cluster, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    killed = []

    def kill_one(line):
        if "videos/s" in line and not killed:
            killed.append(psutil.Process(next(iter(cluster.workers.values())).pid))
            killed[0].kill()

    settings = {"videos_per_part": 2, "detector_factory": partial(Squares, pause=0.2)}
    run(corpus, tmp_path / "lost", options=GUARDED, progress=kill_one, **settings)
    assert killed and not killed[0].is_running()
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    run(corpus, tmp_path / "calm", **settings)
    assert content(tmp_path / "lost") == content(tmp_path / "calm")


def test_parts_that_always_bring_their_worker_down_are_named_when_all_others_are_done(trapped, tmp_path, cluster):
    root, index = trapped
    index = index[~index["path"].str.contains("hang|raise")]
    with pytest.raises(RuntimeError, match="^1 of 3 parts were lost .* first ffpp-00001-"):
        run((root, index), tmp_path, options=replace(GUARDED, scheduler=cluster.scheduler_address),
            videos_per_part=1, detector_factory=Fatal)
    assert [path.name[:10] for path in sorted(tmp_path.glob("*.arrow"))] == ["ffpp-00000", "ffpp-00002"]


def test_a_scheduler_that_does_not_answer_is_named(corpus, tmp_path):
    from dask import config
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    with config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(
            ValueError, match=f"^crops.scheduler = '{address}': no Dask scheduler answers"):
        run(corpus, tmp_path, options=replace(GUARDED, scheduler=address))


def test_where_no_port_can_be_opened_the_work_is_done_all_the_same(corpus, made, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")
    monkeypatch.setattr(socket.socket, "bind", refuse)
    lines = []
    run(corpus, tmp_path, options=GUARDED, workers=2, progress=lines.append)
    assert lines[0].startswith("crops: no dashboard (") and content(tmp_path) == content(made)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_run_with_a_message_and_leaves_whole_parts(corpus, made, tmp_path, workers):
    sizes = sorted(path.stat().st_size for path in made.glob("*.arrow"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[-1] - 1, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large; [012] of 3 parts are finished and stay in .* make room"):
            run(corpus, tmp_path, options=GUARDED, workers=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert all(path.name in content(made) for path in tmp_path.iterdir())
    run(corpus, tmp_path)
    assert content(tmp_path) == content(made)


def test_an_interrupt_leaves_no_process_and_no_half_part(corpus, made, tmp_path):
    def interrupt(line):
        if "videos/s" in line:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        run(corpus, tmp_path, options=GUARDED, workers=2, progress=interrupt,
            detector_factory=partial(Squares, pause=0.2))
    assert guarded_processes() == []
    assert content(tmp_path).items() < content(made).items() and content(tmp_path)


# --- the report -----------------------------------------------------------------------------------

def test_report_counts_by_hand(corpus, made):
    root, index = corpus
    index = pd.concat([index, pd.DataFrame([index_row("x.mp4", dataset="dfdc")])])  # nothing of it was cropped
    crops = CropStore(made).table(COLUMNS)
    skipped = pd.read_csv(made / "skipped.csv")
    table = crop_counts(crops, index, skipped, OPTIONS)
    broken = int((crops["video_id"] == "ffpp/broken").sum())
    # Five videos of 3 frames, one of 2 with two faces each, 1 of 3 frames with a face, 3 frames of nobody.
    expected = {"videos": 12, "frames": 15 + 2 + 3 + 3 + broken, "without_face": 2 + 3, "several_faces": 2,
                "faces": 15 + 4 + 1 + broken, "seconds": 15 + 2 + 3 + 3 + broken, "missing": 1, "empty": 1,
                "undecodable": 1, "crashed": 0, "timeout": 0, "no_face": 1, "broken_off": 1, "frame_without_face": 1}
    assert table.loc["ffpp"].to_dict() == expected
    assert table.loc["dfdc"].sum() == table.loc["dfdc", "videos"] == 1 and table.loc["all", "videos"] == 13
    halves = crop_counts(crops, index, skipped, replace(OPTIONS, frames_per_second=0.5))
    assert halves.loc["ffpp", "seconds"] == 2 * expected["seconds"]
    spread = crop_counts(crops, index, skipped, replace(OPTIONS, frames_per_clip=32))
    assert spread.loc["ffpp", "seconds"] == 0 and spread.loc["ffpp", "frames"] == expected["frames"]


def test_frames_without_face_of_a_video_that_broke_off():
    index = pd.DataFrame([index_row("a.mp4"), index_row("b", "frames")])
    crops = pd.DataFrame([("ffpp/a", frame, 0, 0, 9, 9, 1.0) for frame in (0, 0, 3)], columns=COLUMNS)
    skipped = pd.DataFrame([("ffpp/a", "crashed", "SIGSEGV after 8 sampled frames"),
                            ("ffpp/b", "broken_off", "1 images cannot be decoded (after 4 sampled frames)")],
                           columns=["video_id", "reason", "detail"])
    row = crop_counts(crops, index, skipped, OPTIONS).loc["ffpp"]
    assert row[["frames", "without_face", "several_faces", "faces", "seconds"]].tolist() == [12, 10, 1, 3, 8]
    assert row["crashed"] == row["broken_off"] == 1


def test_sizes_and_scores_of_detected_faces_only():
    index = pd.DataFrame([index_row("a.mp4"), index_row("b", "frames")])
    crops = pd.DataFrame([("ffpp/a", 0, 10, 20, 40, 60, 0.9), ("ffpp/b", 0, 0, 0, 99, 99, 1.0)],
                         columns=COLUMNS)
    assert faces_of_corpora(crops, index).to_numpy().tolist() == [["ffpp", 40, 0.9]]


def test_examples_are_spread_over_the_videos_of_each_manipulation(corpus, made):
    _, index = corpus
    kinds = index.assign(manipulation=np.where(index["path"].str.startswith("v"), "deepfakes", "real"))
    store = CropStore(made)
    sheets = examples(store, kinds, each=3)
    assert {name: len(images) for name, images in sheets.items()} == {"ffpp: deepfakes": 3, "ffpp: real": 3}
    for image, name in zip(sheets["ffpp: deepfakes"], ("v0", "v2", "v4"), strict=True):
        assert np.array_equal(image, store.image(int(store.rows_of(f"ffpp/{name}")[0])))
