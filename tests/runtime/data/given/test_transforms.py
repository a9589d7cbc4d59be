import warnings

import numpy as np
import pytest

from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.schema import TEST, TransformationParameter
from runtime.data.dataset import open_dataset, split_dataset
from tests.runtime.data.given.common import COUNT, arrays, read

X, Y = arrays(shape=(1, 9, 9))
CROP = {"data": (4, 1, 6, 6), "label": (4,)}


def test_fields_of_caffe_crop_mirror_and_scale_the_first_input():
    fields = dict(crop_size=6, mirror=True, mean_value=[3.0], scale=0.5)
    data = open_dataset((X, Y), CROP, transform=fields, shuffle=True)
    message = TransformationParameter(**fields)
    again = open_dataset((X, Y), CROP, transform=message, shuffle=True)
    windows, mirrored = set(), 0
    for number in range(9):
        images, labels = data.batch(number)
        np.testing.assert_array_equal(images, again.batch(number)[0])
        for image, label in zip(images, labels, strict=True):
            row, column, flip = find(image / 0.5 + 3, X[int(label)])
            windows.add((row, column))
            mirrored += flip
    assert len(windows) > 5
    assert 5 < mirrored < 25


def find(window, image):
    """Return where a window was cut from an image, and whether it is mirrored."""
    for flip in (False, True):
        looked = window[:, :, ::-1] if flip else window
        for row in range(4):
            for column in range(4):
                part = image[:, row : row + 6, column : column + 6]
                if np.allclose(looked, part):
                    return row, column, flip
    raise AssertionError("no such window")


def test_tests_take_the_middle_and_mirror_nothing():
    fields = dict(crop_size=6, mirror=True)
    data = open_dataset((X, Y), CROP, transform=fields, phase=TEST)
    np.testing.assert_array_equal(data.batch(1)[0], X[4:8, :, 1:7, 1:7])


def test_a_function_gets_copies_and_a_generator_of_its_own():
    seen = []

    def transform(item, rng):
        image, label = item
        assert image.dtype == np.float32
        image += rng.normal()
        seen.append(label)
        return image[:, 1:7, 1:7], label

    before = X.copy()
    data = open_dataset((X, Y), CROP, transform=transform, shuffle=True, seed=3)
    epochs = [data.batch(n) for n in range(6)]
    np.testing.assert_array_equal(X, before)
    noises = [
        image[0, 0, 0] - X[int(label), 0, 1, 1]
        for images, labels in epochs
        for image, label in zip(images, labels, strict=True)
    ]
    assert len({round(float(noise), 4) for noise in noises}) == 2 * COUNT
    again = open_dataset((X, Y), CROP, transform=transform, shuffle=True, seed=3)
    for mine, other in zip(again.batch(4), epochs[4], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_function_may_return_the_first_array_alone_or_names():
    ways = [
        lambda item, rng: item[0][:, 1:7, 1:7],
        lambda item, rng: [item[0][:, 1:7, 1:7], item[1]],
        lambda item, rng: {"label": item[1], "data": item[0][:, 1:7, 1:7]},
    ]
    for way in ways:
        data = open_dataset((X, Y), CROP, transform=way)
        np.testing.assert_array_equal(data.batch(2)[0], X[8:, :, 1:7, 1:7])
        np.testing.assert_array_equal(data.batch(2)[1], Y[8:])


@pytest.mark.parametrize("kind", ["items", "batches", "sequence", "map"])
def test_streams_and_batches_are_transformed_alike(kind):
    def noisy(item, rng):
        return item[0][:, 1:7, 1:7] + rng.normal(), item[1]

    def batches():
        return [(X[i : i + 4], Y[i : i + 4]) for i in (0, 4, 8)]

    given = {
        "items": lambda: zip(X, Y, strict=True),
        "batches": batches,
        "sequence": batches(),
        "map": list(zip(X, Y, strict=True)),
    }[kind]
    first = open_dataset((X, Y), CROP, transform=noisy)
    second = open_dataset(given, CROP, transform=noisy)
    for one, other in zip(read(first, 3), read(second, 3), strict=True):
        for mine, its in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    ("transform", "error", "said"),
    [
        ({"crop_sice": 6}, SpecError, "no field 'crop_sice'; did you mean 'crop_size'"),
        ({"crop_size": "a"}, SpecError, "transform: crop_size is 'a'"),
        (5, SpecError, "transform is 5; expected a dict of fields"),
        ({"crop_size": 12}, SpecError, "crop_size 12 is larger than the images"),
        ({"crop_size": 5}, ShapeError, r"transform: an item has shape \(1, 5, 5\)"),
        (lambda item, rng: None, SpecError, "the function of transform returns None"),
        (lambda item, rng: (1, 2, 3), SpecError, "returns 3 arrays; expected 2: data"),
        (lambda item, rng: item, ShapeError, r"item 0 .*\(1, 9, 9\)"),
        (lambda item, rng: {"data": 1}, SpecError, "returns no 'label'"),
    ],
)
def test_transforms_that_cannot_be(transform, error, said):
    with pytest.raises(error, match=said):
        open_dataset((X, Y), CROP, transform=transform).batch(0)


def test_what_a_function_raises_says_for_which_item():
    def transform(item, rng):
        raise KeyError("mine")

    data = open_dataset((X, Y), CROP, transform=transform)
    with pytest.raises(KeyError, match="mine") as caught:
        data.batch(1)
    assert "for item 4 since the start" in caught.value.__notes__[0]


def test_fields_of_caffe_are_for_images():
    with pytest.raises(ShapeError, match="transform is for images"):
        open_dataset(
            (X.reshape(10, 81), Y),
            {"data": (4, 81), "label": (4,)},
            transform={"scale": 2},
        )
    with pytest.warns(SpecWarning, match="which this makes smaller still"):
        open_dataset(
            (X / 255, Y),
            {"data": (4, 1, 9, 9), "label": (4,)},
            transform={"scale": 1 / 256},
        ).batch(0)


def test_parts_that_are_transformed_and_not():
    inputs = {"data": (4, 1, 9, 9), "label": (4,)}
    train, test = split_dataset(
        (X, Y % 2), inputs, 0.3, transform=lambda item, rng: (item[0] + 1, item[1])
    )
    np.testing.assert_array_equal(train.batch(0)[0], X[:4] + 1.0)
    np.testing.assert_array_equal(test.batch(0)[0], X[7:])
    with pytest.warns(SpecWarning, match="'label' has 7 in the last items only"):
        split_dataset((X, Y), inputs, 0.3)
    with pytest.raises(SpecError, match="leaves none to train"):
        split_dataset((X[:1], Y[:1]), inputs, 0.3)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_pictures_that_keep_their_size_are_transformed_as_others_are(dtype):
    inputs = {"data": (4, 1, 9, 9), "label": (4,)}
    fields = dict(mirror=True, mean_value=[3.5], scale=0.25)
    at_once = open_dataset((X.astype(dtype), Y), inputs, transform=fields, seed=3)
    one_by_one = open_dataset(
        list(zip(X.astype(dtype), Y, strict=True)), inputs, transform=fields, seed=3
    )
    for number in range(7):
        for mine, other in zip(
            at_once.batch(number), one_by_one.batch(number), strict=True
        ):
            np.testing.assert_array_equal(mine, other)
    assert at_once.cheap is (dtype != "float64")


def test_a_class_that_is_trained_and_never_tested_is_told():
    x, inputs = np.zeros((200, 3), np.float32), {"data": (4, 3), "label": (4,)}
    y = np.arange(200) * 3 // 200  # sorted: the last fifth is all 2
    with pytest.warns(SpecWarning, match="'label' has 0 in the first items only.* 40"):
        split_dataset((x, y), inputs, 0.2)
    rare = np.r_[np.zeros(1), np.tile([1, 2], 100)[:199]].astype(int)
    for fair in (np.random.default_rng(0).permutation(y), rare):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            split_dataset((x, fair), inputs, 0.2)
