"""Shapes of which some sizes are in a file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import layers as L
from netspec.errors import ShapeError, SpecError


def data(crop=0, **options):
    transform = dict(crop_size=crop) if crop else None
    return L.Data(
        source="db", batch_size=4, ntop=2, transform_param=transform, **options
    )


def test_data_layers_tell_what_they_know():
    images, labels = data()
    assert (images.shape, labels.shape) == ((4, None, None, None), (4,))
    assert data(crop=12)[0].shape == (4, None, 12, 12)
    color, _ = L.ImageData(source="list", batch_size=3, ntop=2)
    grey, _ = L.ImageData(source="list", batch_size=3, is_color=False, ntop=2)
    assert color.shape == (3, 3, None, None)
    assert grey.shape == (3, 1, None, None)
    boxes = L.AnnotatedData(data_param=dict(source="db", batch_size=2), ntop=2)
    assert [top.shape for top in boxes] == [(2, None, None, None), (1, 1, None, 8)]
    assert L.HDF5Data(source="list", batch_size=2).shape is None


def test_what_does_not_depend_on_the_unknown_becomes_known():
    images, labels = data(crop=12)
    conv = L.Convolution(images, num_output=6, kernel_size=3)
    assert conv.shape == (4, 6, 10, 10)
    score = L.InnerProduct(conv, num_output=7)
    assert L.SoftmaxWithLoss(score, labels).shape == ()
    images, _ = data()
    conv = L.Convolution(images, num_output=6, kernel_size=3)
    assert conv.shape == (4, 6, None, None)
    both = L.Concat(conv, conv)
    assert both.shape == (4, 12, None, None)
    pooled = L.Pooling(both, pool="AVE", global_pooling=True)
    assert pooled.shape == (4, 12, 1, 1)
    assert L.Flatten(conv).shape == (4, None)
    assert L.Reshape(images, shape=dict(dim=[-1])).shape == (None,)


def test_what_is_wrong_for_all_sizes_is_refused():
    images, labels = data(crop=8)
    with pytest.raises(ShapeError, match=r"kernel covers \(9, 9\)"):
        L.Convolution(images, num_output=6, kernel_size=9)
    score = L.InnerProduct(images, num_output=7)
    with pytest.raises(SpecError):
        L.Eltwise(score, L.InnerProduct(images, num_output=8))
    assert labels.shape == (4,)


def test_what_may_be_right_is_not_refused():
    images, _ = data()
    known = L.Input(shape=[4, 3, 17, 19])
    assert L.Eltwise(images, known).shape is None
    grouped = L.Convolution(images, num_output=14, kernel_size=1, group=7)
    assert grouped.shape is None


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 9),
    size=st.integers(20, 40),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    width=st.integers(1, 9),
)
def test_what_is_known_is_right(channels, size, kernel, stride, pad, width):
    def top(x):
        window = dict(kernel_size=kernel, stride=stride, pad=pad)
        x = L.Convolution(x, num_output=width, **window)
        x = L.Concat(x, L.ReLU(x))
        x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
        return x, L.InnerProduct(L.Flatten(x), num_output=3)

    known = top(L.Input(shape=[4, channels, size, size]))
    for partial in (top(data()[0]), top(data(crop=size)[0])):
        for whole, part in zip(known, partial, strict=True):
            assert all(
                b in (None, a) for a, b in zip(whole.shape, part.shape, strict=True)
            )
    assert partial[0].shape == known[0].shape


def test_sizes_that_are_written_down_are_checked():
    with pytest.raises(ShapeError, match=r"shape \(-1, 3, 8, 8\); sizes must not be"):
        L.Input(shape=[-1, 3, 8, 8])


def test_mistakes_of_data_layers_are_not_taken_for_shapes_that_are_not_known():
    transform = dict(crop_size=8, mean_value=[1, 2, 3])
    with pytest.raises(ShapeError):
        L.Data(source="x", batch_size=2**31, transform_param=transform)
    assert L.Input().shape is None
