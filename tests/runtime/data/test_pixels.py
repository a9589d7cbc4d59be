"""Colours, sizes and filters of images against OpenCV, and against plain loops."""

import colorsys

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from netspec.schema import LayerParameter
from netspec.text import parse
from runtime.data import noise
from runtime.data.colors import Distortion, from_hsv, to_hsv
from runtime.data.draws import Draws
from runtime.data.interpolating import MODES, resized

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 37, 53)).astype(np.uint8)
SIZES = [(20, 30), (37, 53), (80, 90), (18, 90), (74, 20), (1, 1), (12, 18), (100, 159)]


def opencv():
    return pytest.importorskip("cv2")


def last(image):
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def assert_near(ours, theirs, most=1):
    far = np.abs(ours.astype(int) - theirs.transpose(2, 0, 1).astype(int))
    assert far.max() <= most


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
def test_resizing_is_opencvs(mode, size):
    cv2 = opencv()
    way = getattr(cv2, f"INTER_{mode}")
    theirs = cv2.resize(last(IMAGE), size[::-1], interpolation=way)
    assert_near(resized(IMAGE, *size, mode), theirs)


@pytest.mark.parametrize("mode", MODES)
def test_a_plain_image_stays_plain(mode):
    plain = np.full((3, 9, 7), 77, np.uint8)
    for size in SIZES:
        assert (resized(plain, *size, mode) == 77).all()


def test_area_is_the_mean_of_what_is_covered():
    image = IMAGE[:, :36, :52]
    means = image.reshape(3, 12, 3, 13, 4).mean(axis=(2, 4))
    assert np.abs(resized(image, 12, 13, "AREA") - means).max() <= 0.5 + 1e-3


def test_hues_are_opencvs():
    cv2 = opencv()
    theirs = cv2.cvtColor(last(IMAGE), cv2.COLOR_BGR2HSV)
    far = np.abs(to_hsv(IMAGE).astype(int) - theirs.transpose(2, 0, 1))
    far[0] = np.minimum(far[0], 180 - far[0])
    assert far.max() <= 1
    assert_near(from_hsv(IMAGE), cv2.cvtColor(last(IMAGE), cv2.COLOR_HSV2BGR))


def test_hues_are_those_of_the_standard_library():
    for blue, green, red in IMAGE[:, :9, :9].reshape(3, -1).T / 255:
        pixel = np.rint(np.array([blue, green, red]) * 255).astype(np.uint8)
        hue, saturation, value = to_hsv(pixel.reshape(3, 1, 1)).reshape(3).astype(float)
        wanted = np.array(colorsys.rgb_to_hsv(red, green, blue)) * [180, 255, 255]
        away = abs(hue - wanted[0])
        assert min(away, 180 - away) <= 0.51
        assert abs(saturation - wanted[1]) <= 0.51
        assert value == round(wanted[2])


def test_filters_are_opencvs():
    cv2 = opencv()
    image = last(IMAGE)
    assert_near(noise.blurred(IMAGE), cv2.GaussianBlur(image, (7, 7), 1.5))
    cross = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3), (1, 1))
    assert_near(noise.eroded(IMAGE), cv2.erode(image, cross), 0)
    dull = (IMAGE // 3 + 20).astype(np.uint8)
    gray = cv2.equalizeHist(dull[0])
    assert_near(noise.equalized(dull[:1]), gray[:, :, None])
    luma = cv2.cvtColor(last(dull), cv2.COLOR_BGR2YCrCb)
    luma[..., 0] = cv2.equalizeHist(np.ascontiguousarray(luma[..., 0]))
    far = noise.equalized(dull) - cv2.cvtColor(luma, cv2.COLOR_YCrCb2BGR).transpose(
        2, 0, 1
    ).astype(float)
    assert (np.abs(far) > 1).mean() < 0.01


def layer_of(text):
    return parse(f'type: "Data" name: "d" transform_param {{ {text} }}', LayerParameter)


def with_noise(text, image=IMAGE):
    made = noise.Noise(layer_of(f"noise_param {{ {text} }}"), len(image))
    return made.apply(image, Draws(0, "d", 0))


def test_noise_does_what_its_fields_say():
    gray = with_noise("decolorize: true")
    assert (gray[0] == gray[1]).all()
    assert (gray[0] == gray[2]).all()
    weighed = 0.114 * IMAGE[0] + 0.587 * IMAGE[1] + 0.299 * IMAGE[2]
    assert np.abs(gray[0] - weighed).max() <= 0.5 + 1e-9
    assert (with_noise("inverse: true") == 255 - IMAGE).all()
    assert sorted(set(with_noise("posterize: true").ravel())) == [32, 96, 160, 224]
    assert (with_noise("convert_to_hsv: true") == to_hsv(IMAGE)).all()
    assert (with_noise("erode: true inverse: true") == 255 - noise.eroded(IMAGE)).all()
    assert (with_noise("gauss_blur: true") == noise.blurred(IMAGE)).all()
    assert (with_noise("hist_eq: true") == noise.equalized(IMAGE)).all()
    smooth = resized(IMAGE[:, :5, :5], 37, 53, "LINEAR")
    packed = with_noise("jpeg: 60", smooth)
    assert 0 < np.abs(packed.astype(int) - smooth).mean() < 9


def test_salt_falls_on_single_pixels():
    text = (
        "saltpepper: true saltpepper_param { fraction: 0.1 value: 1 value: 2 value: 3 }"
    )
    salted = with_noise(text)
    fallen = (salted == np.array([1, 2, 3]).reshape(3, 1, 1)).all(axis=0)
    assert 0.06 < fallen.mean() <= 0.1
    assert (salted[:, ~fallen] == IMAGE[:, ~fallen]).all()


@pytest.mark.parametrize("name", ["clahe", "convert_to_lab"])
def test_what_is_not_computed_is_refused(name):
    with pytest.raises(
        UnsupportedError, match=f"noise_param.{name} cannot be computed"
    ):
        with_noise(f"{name}: true")


def distorted(text, seed=0):
    made = Distortion(layer_of(f"distort_param {{ {text} }}"), 3)
    return made.apply(IMAGE, Draws(seed, "d", 0)).astype(int)


def test_colours_change_as_far_as_is_given():
    assert (distorted("") == IMAGE).all()
    shifts = set()
    for seed in range(30):
        brighter = distorted("brightness_prob: 1 brightness_delta: 30", seed)
        inner = (IMAGE > 40) & (IMAGE < 215)
        (shift,) = set((brighter - IMAGE)[inner].tolist())
        shifts.add(shift)
        contrast = distorted(
            "contrast_prob: 1 contrast_lower: 0.5 contrast_upper: 0.9", seed
        )
        factors = contrast[IMAGE > 128] / IMAGE[IMAGE > 128]
        assert np.ptp(factors) < 0.01
        assert 0.49 < factors.min() <= factors.max() < 0.91
    assert -30 <= min(shifts) < -20
    assert 20 < max(shifts) <= 30


def test_saturation_and_hue_leave_the_value():
    gray = distorted("saturation_prob: 1 saturation_lower: 0 saturation_upper: 0")
    assert (gray == IMAGE.max(axis=0)).all()
    turned = distorted("hue_prob: 1 hue_delta: 40", seed=5)
    assert (turned.max(axis=0) == IMAGE.max(axis=0)).all()
    assert np.abs(turned.min(axis=0) - IMAGE.min(axis=0)).max() <= 1
    assert (turned != IMAGE).mean() > 0.3


def test_channels_change_places():
    orders = {
        tuple(distorted("random_order_prob: 1", seed)[:, 0, 0].tolist())
        for seed in range(60)
    }
    assert len(orders) == 6
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(IMAGE[:, 0, 0]))}


def test_a_probability_is_a_share_of_the_images():
    text = "brightness_prob: 0.3 brightness_delta: 30"
    changed = [(distorted(text, seed) != IMAGE).any() for seed in range(200)]
    assert 40 < sum(changed) < 80
