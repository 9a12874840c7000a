"""Rendered clips: fakes differ from their reals in the blended face and in nothing else."""

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from deepfake_repro.crops.frames import face_sequence, frames
from deepfake_repro.demo import build, clips, people
from deepfake_repro.demo.casting import PLANNERS, Clip
from deepfake_repro.demo.manipulations import RECIPES, WILD, Traces, generate, recipe, traces
from deepfake_repro.faces.landmarks import OVAL
from support.takes import DONOR, TARGET, smooth

TIMES = np.arange(3) / clips.FRAMES_PER_SECOND


def one_of_each_kind():
    """Yield (corpus, method): one swap and one reenactment of each corpus that has them."""
    for corpus in PLANNERS:
        table = RECIPES["wild" if corpus in WILD else corpus]
        for kind in ("swap", "reenact"):
            methods = [method for method, how in table.items() if how.kind == kind]
            yield from ((corpus, method) for method in methods[-1:])


def take(assets, corpus, method, number=1):
    """(clip, still, motion without post-processing, layer) of a fake."""
    clip = Clip(corpus, "x.mp4", "video", "test", 1, method, TARGET, number, DONOR)
    still, towards = build.expressions(assets, clip)
    motion = clips.Motion(still, towards, replace(clips.camera(corpus, TARGET, number), wild=()))
    how = recipe(corpus, method)
    donor = build._donor(assets, clip, how.kind)
    return clip, still, motion, generate(how, still, donor, Traces(sharpness=1.0, checker=8.0))


@pytest.mark.parametrize("corpus, method", one_of_each_kind())
def test_a_fake_differs_from_its_real_inside_the_blend_mask_only(assets, corpus, method):
    _, still, motion, layer = take(assets, corpus, method)
    assert layer.image.shape == still.image.shape and layer.mask.shape == still.image.shape[:2]
    assert layer.mask.dtype == np.uint8
    pairs = zip(
        clips.render(still, motion, None, 5, TIMES),
        clips.render(still, motion, layer, 5, TIMES),
        TIMES,
        strict=True,
    )
    shaken = np.ones((9, 9), np.uint8)  # the mask shakes by up to some pixels
    for real, fake, seconds in pairs:
        mask = cv2.remap(layer.mask, motion.map(seconds).astype(np.float32), None, cv2.INTER_LINEAR)
        outside = cv2.dilate((mask > 0).astype(np.uint8), shaken) == 0
        assert real.shape == (clips.HEIGHT, clips.WIDTH, 3) and outside.mean() > 0.2
        assert np.array_equal(real[outside], fake[outside])
        assert np.abs(real[mask > 127].astype(int) - fake[mask > 127]).mean() > 1


def test_a_mask_of_nothing_gives_the_real(assets):
    _, still, motion, layer = take(assets, "dfdc", "dfdc_1")
    empty = replace(layer, mask=np.zeros_like(layer.mask))
    for real, fake in zip(
        clips.render(still, motion, None, 5, TIMES),
        clips.render(still, motion, empty, 5, TIMES),
        strict=True,
    ):
        assert np.array_equal(real, fake)


def test_a_swap_shows_the_donor_and_a_reenactment_the_target(assets):
    swap, drive = (
        build._donor(assets, take(assets, "ffpp", method)[0], kind)
        for method, kind in (("deepfakes", "swap"), ("face2face", "reenact"))
    )
    assert any(swap is still for still in people.stills(assets, DONOR))
    assert any(drive is still for still in people.stills(assets, TARGET))


def test_fakes_are_neither_softer_nor_sharper_than_their_reals(assets):
    """The median over fakes of many takes, as OpenCV measures the rendered frames."""
    ratios = []
    for number in range(16):
        clip, still, motion, _ = take(assets, "dfdc", "dfdc_2", number)
        how = recipe("dfdc", f"dfdc_{number % 7 + 1}")
        left = traces("dfdc", number)
        layer = generate(how, still, build._donor(assets, clip, how.kind), left)
        box = motion.face_box(still.points, 0.0).astype(int)
        values = []
        for shown in (layer, None):
            (frame,) = clips.render(still, motion, shown, number, np.zeros(1))
            face = cv2.cvtColor(frame[box[1] : box[3], box[0] : box[2]], cv2.COLOR_RGB2GRAY)
            values.append(cv2.Laplacian(face, cv2.CV_64F).var())
        ratios.append(values[0] / values[1])
    assert 0.8 < np.median(ratios) < 1.25
    assert min(ratios) < 0.95 and max(ratios) > 1.05


def test_traces_depend_on_the_fake_and_unseen_generators_leave_weaker_ones():
    assert traces("dfdc", 3) == traces("dfdc", 3) != traces("dfdc", 4)
    strongest = {
        corpus: max(traces(corpus, seed).checker for seed in range(200))
        for corpus in ("dfdc", "df40", "itw")
    }
    assert strongest["dfdc"] > strongest["df40"] > strongest["itw"]


def same_camera(one, two):
    return all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in one.__dataclass_fields__
    )


def test_a_take_has_one_camera_and_other_takes_others():
    """Conditions are given by corpus, person and take: real and fake cannot differ in them."""
    assert same_camera(clips.camera("itw", TARGET, 3), clips.camera("itw", TARGET, 3))
    for other in (("dfdc", TARGET, 3), ("itw", DONOR, 3), ("itw", TARGET, 4)):
        assert not same_camera(clips.camera("itw", TARGET, 3), clips.camera(*other))
    assert (
        len(clips.camera("itw", TARGET, 3).wild) == 2 and clips.camera("dfdc", TARGET, 3).wild == ()
    )


@pytest.mark.parametrize(
    "corpus, method", [("dfdc", "dfdc_2"), ("itw", "wild_3"), ("celebdf2", "deepfake")]
)
def test_real_and_fake_of_a_take_have_the_same_length_and_surroundings(
    assets, tmp_path, corpus, method
):
    """Through ``make_clip`` itself, codec and post-processing included."""
    fake = Clip(corpus, "fake.mp4", "video", "test", 1, method, TARGET, 2, DONOR)
    real = replace(fake, path="real.mp4", label=0, method="real", donor=None)
    for clip in (real, fake):
        build.make_clip(clip, assets, tmp_path, 0.5)
    pictures = [
        [image for _, image in frames(tmp_path / name, 4)] for name in ("real.mp4", "fake.mp4")
    ]
    assert len(pictures[0]) == len(pictures[1]) in {2, 3, 4, 5, 6}
    difference = np.abs(np.array(pictures[0], int) - pictures[1])
    assert difference[:, :, :24].mean() < 1 and difference[:, 90:150, 130:190].mean() > 3


@pytest.mark.parametrize("step", ["resize", "blur", "jpeg", "colour", "screenshot"])
def test_post_processing_keeps_size_and_depends_on_the_seed_only(step):
    frame = cv2.resize(smooth(), (clips.WIDTH, clips.HEIGHT))
    one, again, other = (clips.post_process(frame, (step,), seed) for seed in (1, 1, 2))
    assert one.shape == frame.shape and one.dtype == np.uint8
    assert (
        np.array_equal(one, again)
        and not np.array_equal(one, other)
        and not np.array_equal(one, frame)
    )


def test_clips_are_h264_at_four_frames_per_second(assets, tmp_path):
    _, still, motion, layer = take(assets, "ffpp", "faceswap")
    times = np.arange(6) / 4
    source = list(clips.render(still, motion, layer, 7, times))
    clips.encode(iter(source), 23, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", clips.FRAMES_PER_SECOND)
    seconds, pictures = zip(*frames(tmp_path / "a.mp4", 4), strict=True)
    assert seconds == pytest.approx(times)
    for read in (pictures, clips.decoded(iter(source), 23)):
        assert (
            max(np.abs(one.astype(int) - two).mean() for one, two in zip(read, source, strict=True))
            < 8
        )


def test_the_same_frames_always_give_the_same_bytes(assets, tmp_path):
    _, still, motion, layer = take(assets, "ffpp", "faceswap")
    files = [tmp_path / f"{number}.mp4" for number in range(8)]
    for file in files:
        clips.encode(clips.render(still, motion, layer, 7, np.arange(6) / 4), 23, file)
    assert len({file.read_bytes() for file in files}) == 1


@pytest.mark.parametrize(
    "corpus, method, names, side",
    [
        ("df40", "lia", ["000.png", "001.png", "002.png"], 256),
        ("wilddeepfake", "wild_2", sorted(f"{number}.png" for number in range(21)), 224),
    ],
)
def test_face_sequences_as_published(assets, tmp_path, corpus, method, names, side):
    clip = Clip(corpus, "a/faces", "frames", "test", 1, method, TARGET, 0, DONOR)
    build.make_clip(clip, assets, tmp_path, 0.5)
    assert sorted(file.name for file in (tmp_path / "a" / "faces").iterdir()) == names
    assert {image.shape for _, image in face_sequence(tmp_path, "a/faces")} == {(side, side, 3)}


def test_a_face_crop_is_centred_and_scaled():
    frame = np.zeros((clips.HEIGHT, clips.WIDTH, 3), np.uint8)
    side = 2 * 0.65 * people.FACE_HEIGHT
    cv2.circle(frame, (150, 110), 20, (255, 255, 255), -1)
    crop = clips.face_crop(frame, np.array([110.0, 60, 190, 160]), 256)
    ys, xs = np.nonzero(crop[..., 0] > 127)
    assert (xs.mean(), ys.mean()) == pytest.approx((128, 128), abs=1.5)
    assert np.ptp(xs) == pytest.approx(40 * 256 / side, abs=3)


def test_the_face_box_encloses_the_face_of_the_rendered_frame(assets):
    """A red still with a green face: what is green in the frame is in the box."""
    _, still, motion, _ = take(assets, "dfdc", "dfdc_1")
    towards = people.stills(assets, TARGET)[-1]
    plain = np.full_like(still.image, (200, 0, 0))
    cv2.fillPoly(plain, [still.points[list(OVAL)].astype(np.int32)], (0, 200, 0))
    quiet = replace(motion.camera, noise=0.0, expression=0.0)
    moving = clips.Motion(still, towards, quiet)
    for seconds in (0.0, 0.8, 2.1):
        (frame,) = clips.render(
            people.Still(plain, still.points), moving, None, 0, np.array([seconds])
        )
        ys, xs = np.nonzero(frame[..., 1].astype(int) > frame[..., 0])
        box = moving.face_box(still.points, seconds)
        assert box == pytest.approx([xs.min(), ys.min(), xs.max(), ys.max()], abs=3)
