"""A run over a whole index: the same bytes whatever happens to processes, disk and machines."""

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

from deepfake_repro.crops.isolation import ATTEMPTS
from deepfake_repro.crops.preprocess import make_crops, plan_parts
from deepfake_repro.crops.store import CropStore
from deepfake_repro.faces.detection import detector
from support.runs import ISOLATED, content, extraction_processes, run
from support.squares import OPTIONS, Fatal, Squares, index_row, scene

HERE = Path(__file__).parent


def test_everything_usable_is_kept_and_the_rest_is_listed(corpus, made):
    faces = CropStore(made).table()["video_id"].value_counts().to_dict()
    assert faces.pop("ffpp/broken") >= 1
    assert faces == {**{f"ffpp/v{n}": 3 for n in range(5)}, "ffpp/two": 4, "ffpp/sometimes": 1}
    skipped = pd.read_csv(made / "skipped.csv").set_index("video_id")["reason"].to_dict()
    assert skipped == {
        "ffpp/nobody": "no_face",
        "ffpp/text": "undecodable",
        "ffpp/zero": "empty",
        "ffpp/gone": "missing",
        "ffpp/sometimes": "frame_without_face",
        "ffpp/broken": "broken_off",
    }


def test_bytes_do_not_depend_on_workers_or_row_order(corpus, made, tmp_path):
    root, index = corpus
    backwards = root, index.iloc[::-1]
    one, two = tmp_path / "one", tmp_path / "two"
    lines = []
    run(backwards, one, options=ISOLATED)
    run(backwards, two, options=ISOLATED, workers=2, progress=lines.append)
    assert len(content(made)) == 5
    assert content(one) == content(two) == content(made)
    assert lines[0].startswith("crops: dashboard at http://127.0.0.1:")
    assert re.fullmatch(
        r"crops: 12/12 videos, [\d.]+ videos/s, [\d.]+ faces/s, 6 skipped records, about 0 s left",
        lines[-1],
    )
    assert extraction_processes() == []


def test_an_interrupted_run_is_completed_and_nothing_done_twice(corpus, made, tmp_path):
    log = tmp_path / "log"
    out = tmp_path / "crops"
    lines = []
    factory = partial(Squares, log)
    run(corpus, out, detector_factory=factory)
    everything = len(log.read_text().splitlines())
    assert everything == 5 * 3 + 2 + 3 + 3 + len(CropStore(out).rows_of("ffpp/broken"))

    log.write_text("")
    run(corpus, out, detector_factory=factory, progress=lines.append)
    assert log.read_text() == "" and lines == ["crops: 12/12 videos are done already"]

    lost_part = sorted(out.glob("*.arrow"))[1]
    lost_part.unlink()
    (out / f"{lost_part.name}.tmp").write_bytes(b"half")
    run(corpus, out, detector_factory=factory, progress=lines.append)
    assert 0 < len(log.read_text().splitlines()) < everything
    assert lines[1] == "crops: 8/12 videos are done already"
    assert lines[2].startswith("crops: 12/12 videos, ")
    assert content(out) == content(made)


def test_changed_input_or_options_are_done_again_and_replace_the_old(corpus, tmp_path, make_clip):
    root = tmp_path / "root"
    root.mkdir()
    for name in ("v0.mp4", "v1.mp4"):
        (root / name).write_bytes((corpus[0] / name).read_bytes())
    index = pd.DataFrame([index_row("v0.mp4"), index_row("v1.mp4")])
    run((root, index), tmp_path / "out", videos_per_part=1)
    before = content(tmp_path / "out")
    make_clip(root / "v1.mp4", [scene((20, 30))] * 50)
    run((root, index), tmp_path / "out", videos_per_part=1)
    after = content(tmp_path / "out")
    assert len(after) == len(before) == 4 and len(after.keys() & before.keys()) == 3
    run((root, index), tmp_path / "out", videos_per_part=1, options=replace(OPTIONS, margin=0.4))
    other = content(tmp_path / "out")
    assert len(other) == 4 and other.keys() & after.keys() == {"skipped.csv", "parts.csv"}
    run(
        (root, index),
        tmp_path / "out",
        videos_per_part=1,
        options=replace(OPTIONS, margin=0.4, max_skipped=0.5, video_timeout=9),
    )
    assert content(tmp_path / "out") == other  # a limit does not affect the crops


def test_other_corpora_in_the_folder_are_left_alone(corpus, tmp_path):
    root, _ = corpus
    for dataset in ("df40", "dfdc"):
        index = pd.DataFrame(
            [index_row("v0.mp4", dataset=dataset), index_row("gone.mp4", dataset=dataset)]
        )
        make_crops(index, {dataset: root}, tmp_path, Squares, OPTIONS, progress=[].append)
    assert CropStore(tmp_path).table()["video_id"].unique().tolist() == ["df40/v0", "dfdc/v0"]
    assert len(CropStore(tmp_path, "dfdc-*.arrow")) == 3
    assert pd.read_csv(tmp_path / "skipped.csv")["video_id"].tolist() == ["df40/gone", "dfdc/gone"]


def test_too_many_skipped_videos_end_the_run_after_everything_is_written(corpus, made, tmp_path):
    message = r"4 of 12 videos .* over crops\.max_skipped = 0\.3"
    with pytest.raises(ValueError, match=message) as raised:
        run(corpus, tmp_path, options=replace(OPTIONS, max_skipped=0.3))
    assert all(f"ffpp/{name} (" in str(raised.value) for name in ("gone", "nobody", "text", "zero"))
    assert "\n" not in str(raised.value) and content(tmp_path) == content(made)
    run(corpus, tmp_path, options=replace(OPTIONS, max_skipped=4 / 12))


def test_wrong_settings_are_named(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"crops\.encoding = 'bmp': choose one of png, jpeg"):
        run(corpus, tmp_path, options=replace(OPTIONS, encoding="bmp"))
    with pytest.raises(ValueError, match=r"corpora\.ffpp: .* no root folder"):
        plan_parts(corpus[1], {}, tmp_path, OPTIONS)


def test_real_detector_on_a_video_of_two_people(assets, tile, tmp_path, make_clip):
    frame = np.hstack([tile, np.full((360, 120, 3), 128, np.uint8), tile[:, ::-1]])
    make_clip(tmp_path / "two.mp4", [frame] * 11)
    factory = partial(detector, "retinaface", weights=assets / "retinaface_mobilenet025.onnx")
    options = replace(OPTIONS, detector="retinaface", size=224)
    make_crops(
        pd.DataFrame([index_row("two.mp4")]),
        {"ffpp": tmp_path},
        tmp_path / "out",
        factory,
        options,
        progress=[].append,
    )
    store = CropStore(tmp_path / "out")
    assert store.table()[["frame", "face"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    for row in range(4):
        (face,) = factory()([store.image(row)])
        # The box fills 1 / 1.3 of the crop, about its centre.
        assert np.abs(face.boxes[0] / 224 - [0.115, 0.115, 0.885, 0.885]).max() < 0.06


class Runs:
    """Successive runs of ``squares.run_to_kill`` on the same folder, until one finishes."""

    def __init__(self, root, base, expected):
        self.root = root
        self.base = base
        self.expected = expected
        self.run = None
        self.finished = 0
        self.killed = []

    def children(self):
        """Wait for the run's child processes; check a finished run and start another."""
        while True:
            if self.run is None or self.run.poll() is not None:
                self.check()
                code = "import sys; from support import squares; squares.run_to_kill(*sys.argv[1:])"
                self.run = psutil.Popen(
                    [sys.executable, "-c", code, self.root, self.base / str(self.finished)],
                    stderr=subprocess.DEVNULL,
                )
            elif children := self.run.children():
                return children
            time.sleep(0.02)

    def check(self):
        if self.run is not None and self.run.returncode != -signal.SIGKILL:
            assert self.run.returncode == 0, "a run may be killed, it may not fail"
            assert content(self.base / str(self.finished)) == self.expected
            self.finished += 1

    def kill(self, kind):
        """Kill a child or the whole run, whose children must end with it."""
        children = self.children()
        self.killed.append(kind)
        victim = self.run if kind == "run" else children[len(self.killed) % len(children)]
        victim.kill()
        victim.wait()
        if kind == "run":
            assert not psutil.wait_procs(children, timeout=10)[1], "processes outlived their run"

    def finish(self):
        """Let a run finish undisturbed."""
        self.children()
        self.run.wait()
        self.check()


def test_killed_twenty_times_at_random_moments_gives_the_same_bytes(corpus, tmp_path):
    root, _ = corpus
    index = pd.DataFrame([index_row(path.name) for path in sorted(root.iterdir())])
    run((root, index), tmp_path / "calm", videos_per_part=2)
    runs = Runs(root, tmp_path, content(tmp_path / "calm"))
    random = np.random.default_rng(0)
    for _ in range(20):
        runs.children()
        time.sleep(random.uniform(0, 1.5))
        # Three deaths in one run might hit one video, which would then rightly be abandoned.
        enough = runs.killed[1 - ATTEMPTS :] == ["child"] * (ATTEMPTS - 1)
        runs.kill("run" if enough or random.random() < 0.3 else "child")
    assert runs.killed.count("run") >= 5 and runs.killed.count("child") >= 5
    runs.finish()


@pytest.fixture
def cluster():
    """A cluster of two worker processes that abandons a task after one death."""
    from dask import config
    from distributed import LocalCluster

    with (
        config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
    ):
        yield cluster


def test_a_lost_worker_of_a_cluster_loses_its_part_only(corpus, tmp_path, cluster, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    killed = []

    def kill_one(line):
        if "videos/s" in line and not killed:
            killed.append(psutil.Process(next(iter(cluster.workers.values())).pid))
            killed[0].kill()

    settings = {"videos_per_part": 2, "detector_factory": partial(Squares, pause=0.2)}
    run(corpus, tmp_path / "lost", options=ISOLATED, progress=kill_one, **settings)
    assert killed and not killed[0].is_running()
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    run(corpus, tmp_path / "calm", **settings)
    assert content(tmp_path / "lost") == content(tmp_path / "calm")


def test_parts_that_always_kill_their_worker_are_named_when_all_others_are_done(
    trapped, tmp_path, cluster
):
    root, index = trapped
    index = index[~index["path"].str.contains("hang|raise")]
    with pytest.raises(
        RuntimeError, match=r"^1 of 3 parts were repeatedly lost .* first ffpp-00001-"
    ):
        run(
            (root, index),
            tmp_path,
            options=replace(ISOLATED, scheduler=cluster.scheduler_address),
            videos_per_part=1,
            detector_factory=Fatal,
        )
    assert [path.name[:10] for path in sorted(tmp_path.glob("*.arrow"))] == [
        "ffpp-00000",
        "ffpp-00002",
    ]


def test_a_scheduler_that_does_not_answer_is_named(corpus, tmp_path):
    from dask import config

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    message = rf"^crops\.scheduler = '{address}': no Dask scheduler answers"
    with (
        config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ValueError, match=message),
    ):
        run(corpus, tmp_path, options=replace(ISOLATED, scheduler=address))


def test_without_a_port_for_the_dashboard_the_work_is_done_all_the_same(
    corpus, made, tmp_path, monkeypatch
):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    lines = []
    run(corpus, tmp_path, options=ISOLATED, workers=2, progress=lines.append)
    assert lines[0].startswith("crops: no dashboard (") and content(tmp_path) == content(made)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_run_with_a_message_and_leaves_whole_parts(
    corpus, made, tmp_path, workers
):
    largest = max(path.stat().st_size for path in made.glob("*.arrow"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, before[1]))
    try:
        message = r"File too large; [012] of 3 parts are finished and kept in .* make room"
        with pytest.raises(OSError, match=message):
            run(corpus, tmp_path, options=ISOLATED, workers=workers)
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
        run(
            corpus,
            tmp_path,
            options=ISOLATED,
            workers=2,
            progress=interrupt,
            detector_factory=partial(Squares, pause=0.2),
        )
    assert extraction_processes() == []
    assert content(tmp_path).items() < content(made).items() and content(tmp_path)
