"""The embedded benchmark: fakes differ from their reals in the blended face only, and nothing else tells them apart."""

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake_repro.crops.frames import face_sequence, frames
from deepfake_repro.demo import build, clips, people, warps
from deepfake_repro.demo.casting import PLANNERS, Clip, plan
from deepfake_repro.demo.manipulations import RECIPES, WILD, generate, recipe
from deepfake_repro.faces.landmarks import OVAL
from deepfake_repro.project import params
from deepfake_repro.project.vocabulary import TRAINING_CORPORA
from deepfake_repro.report.shortcuts import FEATURES, LIMIT, features, shortcuts

ROOT = Path(__file__).resolve().parents[1]
TARGET, DONOR = "P006", "P008"
TIMES = np.arange(3) / clips.FRAMES_PER_SECOND


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the builder's worker processes do."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def planned() -> list[Clip]:
    """The clips of the default profile."""
    return plan(build.PEOPLE, params.load(ROOT / "params.yaml").miniature("demo").videos, 0)


def cloud(count=478, seed=0):
    """Landmarks about the middle of a 240 × 200 picture."""
    return (np.random.default_rng(seed).uniform(-50, 50, (count, 2)) + (100, 120)).astype(np.float32)


def smooth(shape=(240, 200)):
    """A smooth picture: resampling hardly changes it."""
    ys, xs = np.mgrid[0:shape[0], 0:shape[1]]
    waves = [np.sin(xs / 19) * np.cos(ys / 23), np.cos(xs / 17 + ys / 31), np.sin(ys / 21 - xs / 29)]
    return (128 + 100 * np.stack(waves, -1)).astype(np.uint8)


# --- people -------------------------------------------------------------------------------------------------------

def test_a_sheet_is_cut_into_sixteen_pictures_row_by_row(sheet):
    found = people.tiles(sheet)
    assert len(found) == 16
    assert all(200 < picture.shape[0] < 448 and 300 < picture.shape[1] < 600 for picture in found)
    assert not any((picture.min(axis=2) > 240).mean() > 0.3 for picture in found)
    assert np.abs(found[0].astype(int) - place(sheet, found[0], 0, 0)).max() == 0
    assert np.abs(found[6].astype(int) - place(sheet, found[6], 1, 2)).max() == 0


def place(sheet, picture, row, column):
    """The region of a quarter-by-quarter cell of the sheet that fits ``picture`` best."""
    height, width = sheet.shape[0] // 4, sheet.shape[1] // 4
    y0, x0 = max(row * height - 60, 0), max(column * width - 60, 0)
    region = sheet[y0:y0 + height + 120, x0:x0 + width + 120]
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(region, picture, cv2.TM_CCOEFF_NORMED))
    return region[y:y + picture.shape[0], x:x + picture.shape[1]]


@pytest.mark.parametrize("grey", [0, 255])
def test_a_blank_sheet_is_an_error(grey):
    with pytest.raises(ValueError, match="expression sheet: 0 framed pictures found, 16 expected"):
        people.tiles(np.full((448, 600, 3), grey, np.uint8))


def test_stills_have_faces_of_one_height_and_differ(assets):
    found = people.stills(assets, TARGET)
    assert len(found) == 16 - len(people.OCCLUDED)
    for still in found:
        oval = still.points[list(OVAL)]
        assert still.points.shape == (478, 2)
        assert np.ptp(oval[:, 1]) == pytest.approx(people.FACE_HEIGHT, rel=0.01)
        assert (oval.min(0) > 0).all() and (oval.max(0) < still.image.shape[1::-1]).all()
        np.testing.assert_allclose(still.centre, [(oval[:, i].min() + oval[:, i].max()) / 2 for i in (0, 1)])
    assert len({still.image.tobytes() for still in found}) == len(found)


# --- geometry and blending ----------------------------------------------------------------------------------------

def test_identical_landmarks_leave_the_picture_alone():
    warped = warps.warp(smooth(), cloud(), cloud(), (240, 200))
    assert np.abs(warped.astype(int) - smooth()).max() <= 1


@pytest.mark.parametrize("angle, scale, shift", [(0.2, 1.0, (5, -3)), (-0.3, 1.25, (0, 0)), (0.0, 0.8, (12, 7))])
def test_a_pure_similarity_is_undone(angle, scale, shift):
    """The picture as seen through a similarity, with its landmarks moved the same way, is brought back."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, np.array([100, 120]) - turn @ (100, 120) + shift])
    moved = cv2.warpAffine(smooth(), matrix, (200, 240), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    landmarks = (cloud() @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    np.testing.assert_allclose(warps.similarity(cloud(), landmarks), matrix, atol=1e-2)
    back = warps.warp(moved, landmarks, cloud(), (240, 200))
    inside = np.s_[60:180, 50:150]
    assert np.abs(back[inside].astype(int) - smooth()[inside]).mean() < 1
    assert np.abs(moved[inside].astype(int) - smooth()[inside]).mean() > 5


def test_the_displacement_is_right_at_the_points_and_nothing_at_the_border():
    at = np.array([(40, 40), (160, 40), (160, 200), (40, 200), (100, 120)], np.float32)
    move = np.array([(3, 0), (0, 3), (-3, 0), (0, -3), (4, 4)], np.float32)
    field = warps.displacement(at, move, (240, 200))
    assert field.shape == (240, 200, 2) and field.dtype == np.float32
    for (x, y), expected in zip(at.astype(int), move, strict=True):
        np.testing.assert_allclose(field[y, x], expected, atol=0.5)
    assert np.abs(field[0]).max() < 0.5 and np.abs(field[:, 0]).max() < 0.5


def test_a_region_mask_is_the_grown_hull_between_0_and_1():
    square = np.array([(60, 60), (140, 60), (140, 140), (60, 140)], np.float32)
    hard = warps.region_mask(square, [0, 1, 2, 3], (240, 200), 1.5, 0)
    expected = np.zeros((240, 200), np.float32)
    expected[40:161, 40:161] = 1
    np.testing.assert_array_equal(hard, expected)
    soft = warps.region_mask(square, [0, 1, 2, 3], (240, 200), 1.0, 5.0)
    assert soft.min() >= 0 and soft.max() <= 1 + 1e-6 and soft[100, 100] == pytest.approx(1)
    assert 0.4 < soft[60, 100] < 0.6 and soft[0, 0] == 0 and soft.dtype == np.float32


def spectrum(image):
    """Share of the energy at high spatial frequencies."""
    power = np.abs(np.fft.fftshift(np.fft.fft2(image.mean(2) - image.mean()))) ** 2
    ys, xs = np.mgrid[-1:1:power.shape[0] * 1j, -1:1:power.shape[1] * 1j]
    return power[np.hypot(ys, xs) > 0.5].sum() / power.sum()


@pytest.mark.parametrize("up", warps.INTERPOLATIONS)
def test_the_bottleneck_loses_high_frequencies_near_the_face_only(up):
    noise, points = np.random.default_rng(0).integers(0, 256, (240, 200, 3), dtype=np.uint8), cloud()
    result = warps.bottleneck(noise, points, 32, up, 0.0)
    low, high = points[list(OVAL)].min(0).astype(int) - 13, points[list(OVAL)].max(0).astype(int) + 14
    outside = np.ones((240, 200), bool)
    outside[low[1]:high[1], low[0]:high[0]] = False
    assert np.array_equal(result[outside], noise[outside])
    face = np.s_[low[1] + 2:high[1] - 2, low[0] + 2:high[0] - 2]
    assert (result[face] != noise[face]).mean() > 0.9
    assert spectrum(result[face]) < 0.5 * spectrum(noise[face])
    sharp = warps.bottleneck(noise, points, 32, up, 0.8)
    assert spectrum(sharp[face]) > spectrum(result[face])


@pytest.fixture
def patches():
    """(layer, target, mask): the same texture in two colours, and a disc."""
    texture = smooth().astype(np.float32)
    layer, target = (np.clip(texture * gain + add, 0, 255).astype(np.uint8)
                     for gain, add in ((0.5, (90, 20, 10)), (0.8, (5, 40, 30))))
    return layer, target, cv2.circle(np.zeros((240, 200), np.float32), (100, 120), 60, 1.0, -1)


def lab(image, mask):
    """LAB values float32 inside the mask."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)[mask > 0.5]


def test_colour_transfer_brings_mean_and_spread_to_those_of_the_target(patches):
    layer, target, mask = patches
    goal = lab(target, mask)
    assert warps.match_colour(layer, target, mask, "none") is layer
    by_mean, by_both = (lab(warps.match_colour(layer, target, mask, how), mask) for how in ("mean", "lab"))
    assert np.abs(lab(layer, mask).mean(0) - goal.mean(0)).max() > 10
    for found in (by_mean, by_both):
        assert np.abs(found.mean(0) - goal.mean(0)).max() < 3
    assert np.abs(by_both.std(0) - goal.std(0)).max() < np.abs(by_mean.std(0) - goal.std(0)).max()


def test_poisson_cloning_keeps_the_target_outside_and_the_layers_gradients_inside(patches):
    layer, target, mask = patches
    cloned = warps.match_colour(layer, target, mask, "poisson")
    far = cv2.dilate(mask, np.ones((5, 5))) == 0
    changed = np.abs(cloned.astype(int) - target)
    assert changed[far].max() < 12 < changed[mask > 0.5].max()  # OpenCV solves in the mask's rectangle, to some levels
    rectangle = np.zeros_like(far)
    rectangle[55:186, 35:166] = True
    assert np.array_equal(cloned[~rectangle], target[~rectangle])
    deep = cv2.erode(mask, np.ones((21, 21))) > 0
    edges, wanted, other = (cv2.Laplacian(i.astype(np.float32), cv2.CV_32F, ksize=5)[deep] for i in
                            (cloned, layer, target))
    assert np.abs(edges - wanted).mean() < np.abs(edges - other).mean()
    assert np.abs(cloned[deep].astype(int) - layer[deep]).mean() > 5


# --- recipes ------------------------------------------------------------------------------------------------------

def test_every_planned_method_has_a_recipe_and_every_recipe_a_plan(planned):
    used = {("wild" if clip.corpus in WILD else clip.corpus, clip.method) for clip in planned if clip.label}
    assert used == {(corpus, method) for corpus, table in RECIPES.items() for method in table}
    for corpus, method in used:
        assert recipe(WILD[0] if corpus == "wild" else corpus, method) == RECIPES[corpus][method]


@pytest.mark.parametrize("corpus, method", [("ffpp", "simswap"), ("itw", "deepfakes")])
def test_an_unknown_method_is_an_error(corpus, method):
    with pytest.raises(ValueError, match=f"no recipe for method '{method}' of corpus '{corpus}'; known: "):
        recipe(corpus, method)


def test_no_unseen_recipe_occurs_in_a_training_corpus():
    trained = {how for corpus in TRAINING_CORPORA for how in RECIPES[corpus].values()}
    unseen = {how for corpus in ("df40", "wild") for how in RECIPES[corpus].values()}
    assert set(RECIPES) == {*TRAINING_CORPORA, "df40", "wild"}
    assert len(trained) > 20 and not trained & unseen


# --- rendering ----------------------------------------------------------------------------------------------------

def one_of_each_kind():
    """(corpus, method): a swap and a reenactment of each corpus that has both, with all colour transfers."""
    for corpus in PLANNERS:
        table = RECIPES["wild" if corpus in WILD else corpus]
        for kind in ("swap", "reenact"):
            found = [method for method, how in table.items() if how.kind == kind]
            yield from ((corpus, method) for method in found[-1:])


def take(assets, corpus, method, number=1):
    """(clip, still, motion without post-processing, layer) of a fake."""
    clip = Clip(corpus, "x.mp4", "video", "test", 1, method, TARGET, number, DONOR)
    still, towards = build.expressions(assets, clip)
    motion = clips.Motion(still, towards, replace(clips.camera(corpus, TARGET, number), wild=()))
    how = recipe(corpus, method)
    return clip, still, motion, generate(how, still, build._donor(assets, clip, how.kind))


@pytest.mark.parametrize("corpus, method", one_of_each_kind())
def test_a_fake_differs_from_its_real_inside_the_blend_mask_only(assets, corpus, method):
    _, still, motion, layer = take(assets, corpus, method)
    assert layer.image.shape == still.image.shape and layer.mask.shape == still.image.shape[:2]
    assert layer.mask.min() >= 0 and layer.mask.max() <= 1 + 1e-6
    pairs = zip(clips.render(still, motion, None, 5, TIMES), clips.render(still, motion, layer, 5, TIMES),
                TIMES, strict=True)
    shaken = np.ones((9, 9), np.uint8)  # the mask shakes by up to some pixels
    for real, fake, seconds in pairs:
        mask = cv2.remap(layer.mask, motion.map(seconds), None, cv2.INTER_LINEAR)
        outside = cv2.dilate((mask > 0).astype(np.uint8), shaken) == 0
        assert real.shape == (clips.HEIGHT, clips.WIDTH, 3) and outside.mean() > 0.2
        assert np.array_equal(real[outside], fake[outside])
        assert np.abs(real[mask > 0.5].astype(int) - fake[mask > 0.5]).mean() > 1


def test_a_mask_of_nothing_gives_the_real(assets):
    _, still, motion, layer = take(assets, "dfdc", "dfdc_1")
    empty = replace(layer, mask=np.zeros_like(layer.mask))
    for real, fake in zip(clips.render(still, motion, None, 5, TIMES), clips.render(still, motion, empty, 5, TIMES),
                          strict=True):
        assert np.array_equal(real, fake)


def test_a_swap_shows_the_donor_and_a_reenactment_the_target(assets):
    swap, drive = (build._donor(assets, take(assets, "ffpp", method)[0], kind)
                   for method, kind in (("deepfakes", "swap"), ("face2face", "reenact")))
    assert any(swap is still for still in people.stills(assets, DONOR))
    assert any(drive is still for still in people.stills(assets, TARGET))


def same_camera(one, two):
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in one.__dataclass_fields__)


def test_a_take_has_one_camera_and_other_takes_others():
    """Conditions are given by corpus, person and take: real and fake cannot differ in them."""
    assert same_camera(clips.camera("itw", TARGET, 3), clips.camera("itw", TARGET, 3))
    for other in (("dfdc", TARGET, 3), ("itw", DONOR, 3), ("itw", TARGET, 4)):
        assert not same_camera(clips.camera("itw", TARGET, 3), clips.camera(*other))
    assert len(clips.camera("itw", TARGET, 3).wild) == 2 and clips.camera("dfdc", TARGET, 3).wild == ()


@pytest.mark.parametrize("corpus, method", [("dfdc", "dfdc_2"), ("itw", "wild_3"), ("celebdf2", "deepfake")])
def test_real_and_fake_of_a_take_have_the_same_length_and_surroundings(assets, tmp_path, corpus, method):
    """Through ``make_clip`` itself, codec and post-processing included."""
    fake = Clip(corpus, "fake.mp4", "video", "test", 1, method, TARGET, 2, DONOR)
    real = replace(fake, path="real.mp4", label=0, method="real", donor=None)
    for clip in (real, fake):
        build.make_clip(clip, assets, tmp_path, 0.5)
    pictures = [[image for _, image in frames(tmp_path / name, 8)] for name in ("real.mp4", "fake.mp4")]
    assert len(pictures[0]) == len(pictures[1]) in {4, 6, 8, 10, 12}
    difference = np.abs(np.array(pictures[0], int) - pictures[1])
    assert difference[:, :, :24].mean() < 1 and difference[:, 90:150, 130:190].mean() > 3


@pytest.mark.parametrize("step", ["resize", "blur", "jpeg", "colour", "screenshot"])
def test_post_processing_keeps_size_and_depends_on_the_seed_only(step):
    frame = cv2.resize(smooth(), (clips.WIDTH, clips.HEIGHT))
    one, again, other = (clips.post_process(frame, (step,), seed) for seed in (1, 1, 2))
    assert one.shape == frame.shape and one.dtype == np.uint8
    assert np.array_equal(one, again) and not np.array_equal(one, other) and not np.array_equal(one, frame)


def test_clips_are_h264_at_eight_frames_a_second(assets, tmp_path):
    _, still, motion, layer = take(assets, "ffpp", "faceswap")
    times = np.arange(12) / 8
    source = list(clips.render(still, motion, layer, 7, times))
    clips.encode(iter(source), 23, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", clips.FRAMES_PER_SECOND)
    seconds, pictures = zip(*frames(tmp_path / "a.mp4", 8), strict=True)
    assert seconds == pytest.approx(times)
    for read in (pictures, clips.decoded(iter(source), 23)):
        assert max(np.abs(one.astype(int) - two).mean() for one, two in zip(read, source, strict=True)) < 8


def test_the_same_frames_always_give_the_same_bytes(assets, tmp_path):
    _, still, motion, layer = take(assets, "ffpp", "faceswap")
    files = [tmp_path / f"{number}.mp4" for number in range(8)]
    for file in files:
        clips.encode(clips.render(still, motion, layer, 7, np.arange(12) / 8), 23, file)
    assert len({file.read_bytes() for file in files}) == 1


@pytest.mark.parametrize("corpus, method, names, side", [
    ("df40", "lia", ["000.png", "001.png", "002.png"], 256),
    ("wilddeepfake", "wild_2", sorted(f"{number}.png" for number in range(21)), 224),
])
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


def test_the_face_box_holds_the_face_of_the_rendered_frame(assets):
    """A red still with a green face: what is green in the frame is in the box."""
    _, still, motion, _ = take(assets, "dfdc", "dfdc_1")
    towards = people.stills(assets, TARGET)[-1]
    plain = np.full_like(still.image, (200, 0, 0))
    cv2.fillPoly(plain, [still.points[list(OVAL)].astype(np.int32)], (0, 200, 0))
    quiet = replace(motion.camera, noise=0.0, expression=0.0)
    moving = clips.Motion(still, towards, quiet)
    for seconds in (0.0, 0.8, 2.1):
        (frame,) = clips.render(people.Still(plain, still.points), moving, None, 0, np.array([seconds]))
        ys, xs = np.nonzero(frame[..., 1].astype(int) > frame[..., 0])
        box = moving.face_box(still.points, seconds)
        assert box == pytest.approx([xs.min(), ys.min(), xs.max(), ys.max()], abs=3)


# --- plan and build -----------------------------------------------------------------------------------------------

def test_no_person_is_in_two_splits(planned):
    cast = [person for split in build.PEOPLE.values() for person in split]
    assert len(set(cast)) == len(cast) == 10
    for clip in planned:
        shown = {clip.target} | ({clip.donor} - {None})
        assert shown <= set(build.PEOPLE[clip.split]), clip.path
        assert clip.label == 0 or clip.donor not in (None, clip.target)


def test_every_fake_has_the_real_of_its_take(planned):
    reals = {(clip.corpus, clip.split, clip.target, clip.take, clip.kind) for clip in planned if not clip.label}
    fakes = [clip for clip in planned if clip.label]
    assert len(fakes) > 100
    assert all((clip.corpus, clip.split, clip.target, clip.take, clip.kind) in reals for clip in fakes)


def test_the_roots_file_notes_every_byte(tmp_path):
    out = tmp_path / "mini"
    (out / build.official_name("itw")).mkdir(parents=True)
    file = out / build.official_name("itw") / "a.mp4"
    file.write_bytes(b"one")
    roots = build.write_roots(out, ["itw"])
    first = out.with_suffix(".yaml").read_text()
    assert roots == {"itw": f"mini/{build.official_name('itw')}"} and f"  itw: {roots['itw']}\n" in first
    build.write_roots(out, ["itw"])
    assert out.with_suffix(".yaml").read_text() == first
    file.write_bytes(b"two")
    build.write_roots(out, ["itw"])
    assert out.with_suffix(".yaml").read_text() != first


# --- audit --------------------------------------------------------------------------------------------------------

def test_shortcuts_of_a_hand_made_table():
    """Bytes tell the fakes (small: 1 - AUC), seconds tell nothing, frames tell three pairs in four."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"dataset": "a", "label": [0, 0, 1, 1], "file_bytes": [9, 8, 2, 1], "bit_rate": [1, 2, 3, 4],
                          "seconds": [5, 5, 5, 5], "frames": [1, 3, 2, 4], "brightness": [1, 4, 2, 3],
                          "colour": [1, 2, 2, 3], "sharpness": [4, 2, 3, 1]})
    many = pd.DataFrame({"dataset": "b", "label": np.arange(2000) % 2} | {n: rng.normal(size=2000) for n in FEATURES})
    found = shortcuts(pd.concat([table, many])).set_index("dataset")
    assert found.loc["a"].to_dict() == {"file_bytes": 1.0, "bit_rate": 1.0, "seconds": 0.5, "frames": 0.75,
                                        "brightness": 0.5, "colour": 0.875, "sharpness": 0.75}
    assert (found.loc["b"] < 0.55).all() and (found.loc["b"] >= 0.5).all()


def test_features_of_a_video_by_hand(make_clip, tmp_path):
    """Grey surroundings and a white box that must not count."""
    image = np.full((96, 128, 3), 60, np.uint8)
    image[30:60, 40:80] = 255
    path = make_clip(tmp_path / "a.mp4", [image] * 12, rate=8)
    boxes = pd.DataFrame({"frame": [0, 1], "x0": 32.0, "y0": 22.0, "x1": 88.0, "y1": 68.0})
    video = pd.DataFrame([{"video_id": "v", "kind": "video", "path": "a.mp4"}])
    found = features(next(video.itertuples()), tmp_path, {"v": boxes})
    size = path.stat().st_size
    assert [found[name] for name in ("file_bytes", "frames", "seconds")] == [size, 12, 1.5]
    assert found["bit_rate"] == pytest.approx(size * 8 / 1.5)
    assert found["brightness"] == pytest.approx(60, abs=3) and found["colour"] == pytest.approx(0, abs=3)
    assert found["sharpness"] < 10


def test_the_demos_own_audit_found_no_shortcut():
    place = ROOT / "results" / "demo" / "audit" / "shortcuts.csv"
    if not place.is_file():
        pytest.skip("needs results/demo/audit, which the pipeline's audit stage writes")
    table = pd.read_csv(place).set_index("dataset")
    assert list(table.columns) == list(FEATURES) and set(table.index) - {"sbi"} == set(PLANNERS)
    assert table.stack()[table.stack() > LIMIT].empty
