"""Convolution, Deconvolution and Im2col against nested loops."""

from itertools import product

import numpy as np
import pytest

from tests.layers.harness import allocated_bytes, check_layer


def outer(op, x):
    """Split x into images: (N, C, *sizes)."""
    return x.reshape(-1, *x.shape[op.axis :])


def convolve(op, x, w, b=None):
    x = outer(op, x)
    top = op.tops[0]
    y = np.zeros((len(x), *top[op.axis :]))
    per_group = (op.channels // op.group, op.num_output // op.group)
    for n, o, *place in np.ndindex(y.shape):
        total = 0.0 if b is None else b[o]
        group = o // per_group[1]
        for c, *at in np.ndindex(w.shape[1:]):
            pixel = [
                s * p + d * k - q
                for s, p, d, k, q in zip(
                    op.stride, place, op.dilation, at, op.pad, strict=True
                )
            ]
            inside = all(0 <= i < n for i, n in zip(pixel, x.shape[2:], strict=True))
            if inside:
                channel = group * per_group[0] + c
                total += w[(o, c, *at)] * x[(n, channel, *pixel)]
        y[(n, o, *place)] = total
    return y.reshape(top)


def deconvolve(op, x, w, b=None):
    x = outer(op, x)
    top = op.tops[0]
    y = np.zeros((len(x), *top[op.axis :]))
    if b is not None:
        y += b.reshape(-1, *(1,) * len(op.kernel))
    per_group = (op.channels // op.group, op.num_output // op.group)
    for n, c, *place in np.ndindex(x.shape):
        group = c // per_group[0]
        for o, *at in np.ndindex(w.shape[1:]):
            pixel = [
                s * p + d * k - q
                for s, p, d, k, q in zip(
                    op.stride, place, op.dilation, at, op.pad, strict=True
                )
            ]
            inside = all(0 <= i < n for i, n in zip(pixel, y.shape[2:], strict=True))
            if inside:
                out = group * per_group[1] + o
                y[(n, out, *pixel)] += w[(c, o, *at)] * x[(n, c, *place)]
    return y.reshape(top)


def columns(op, x):
    x = outer(op, x)
    top = op.tops[0]
    y = np.zeros((len(x), *top[op.axis :]))
    offsets = list(product(*map(range, op.kernel)))
    for n, row, *place in np.ndindex(y.shape):
        c, k = divmod(row, len(offsets))
        pixel = [
            s * p + d * i - q
            for s, p, d, i, q in zip(
                op.stride, place, op.dilation, offsets[k], op.pad, strict=True
            )
        ]
        if all(0 <= i < n for i, n in zip(pixel, x.shape[2:], strict=True)):
            y[(n, row, *place)] = x[(n, c, *pixel)]
    return y.reshape(top)


# Options beside num_output, and the shape of the input.
WINDOWS = {
    "strided and padded": ("kernel_size: 3 stride: 2 pad: 1", (2, 4, 7, 6)),
    "different along h and w": (
        "kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 3 pad_h: 2 pad_w: 1",
        (3, 2, 5, 8),
    ),
    "dilated": ("kernel_size: 3 kernel_size: 2 dilation: 2 pad: 1", (3, 2, 6, 7)),
    "pointwise": ("kernel_size: 1", (3, 4, 5, 6)),
    "pointwise with stride": ("kernel_size: 1 stride: 2", (3, 4, 5, 6)),
    "pointwise with stride and pad": ("kernel_size: 1 stride: 2 pad: 1", (5, 4, 2, 3)),
    "as large as the input": ("kernel_h: 4 kernel_w: 5", (3, 2, 4, 5)),
    "one spatial axis": ("kernel_size: 3 stride: 2 pad: 1", (2, 4, 9)),
    "three spatial axes": (
        "kernel_size: 2 kernel_size: 1 kernel_size: 3 stride: 2 pad: 1 pad: 0 pad: 1",
        (2, 4, 3, 1, 5),
    ),
    "channels on axis 2": ("kernel_size: 2 axis: 2 pad: 1", (2, 3, 4, 5)),
    "channels on axis 0": ("kernel_size: 2 axis: -3 stride: 2", (4, 5, 3)),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_convolution_is_the_correlation_of_windows(backend, case):
    options, shape = WINDOWS[case]
    text = f'type: "Convolution" convolution_param {{ num_output: 3 {options} }}'
    check_layer(text, [shape], convolve, backend=backend)


@pytest.mark.parametrize("case", WINDOWS)
def test_deconvolution_is_the_transposed_correlation(backend, case):
    options, shape = WINDOWS[case]
    if "pad_h: 2" in options:
        options = options.replace("pad_h: 2", "pad_h: 1")
    text = f'type: "Deconvolution" convolution_param {{ num_output: 3 {options} }}'
    check_layer(text, [shape], deconvolve, backend=backend)


@pytest.mark.parametrize("case", WINDOWS)
def test_im2col_writes_the_windows_out(backend, case):
    options, shape = WINDOWS[case]
    text = f'type: "Im2col" convolution_param {{ {options} }}'
    check_layer(text, [shape], columns, backend=backend)


GROUPS = "kernel_size: 2 stride: 2 pad: 1 bias_term: false"


@pytest.mark.parametrize(("group", "num_output"), [(2, 6), (4, 4), (4, 8)])
def test_groups_see_their_own_channels_only(backend, group, num_output):
    options = f"num_output: {num_output} group: {group} {GROUPS}"
    text = f'type: "Convolution" convolution_param {{ {options} }}'
    check_layer(text, [(2, 4, 5, 3)], convolve, backend=backend)
    text = f'type: "Deconvolution" convolution_param {{ {options} }}'
    check_layer(text, [(2, 4, 5, 3)], deconvolve, backend=backend)


@pytest.mark.parametrize("images", [1, 2, 3, 7])
@pytest.mark.parametrize("window", ["kernel_size: 3 pad: 1", "kernel_size: 1"])
def test_any_number_of_images_at_a_time_gives_the_same(
    backend, monkeypatch, images, window
):
    # Seven images of 4 channels: the last chunk may be shorter than the others.
    taps = 9 if "3" in window else 1
    block = images * 4 * 30 * taps // 8 + 1
    monkeypatch.setattr(type(backend), "block_elements", block)
    text = (
        f'type: "Convolution" convolution_param {{ num_output: 2 group: 2 {window} }}'
    )
    check_layer(text, [(7, 4, 5, 6)], convolve, backend=backend)
    text = text.replace("Convolution", "Deconvolution")
    check_layer(text, [(7, 4, 5, 6)], deconvolve, backend=backend)


def test_large_maps_take_the_pointwise_path_without_copies(backend):
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }'
    check_layer(text, [(3, 1, 32, 17)], convolve, backend=backend)


@pytest.mark.parametrize("type_", ["Convolution", "Deconvolution"])
def test_several_bottoms_share_the_weights(backend, type_):
    single = {"Convolution": convolve, "Deconvolution": deconvolve}[type_]

    def reference(op, x0, x1, w, b):
        return single(op, x0, w, b), single(op, x1, w, b)

    text = (
        f'type: "{type_}" bottom: "a" bottom: "b" top: "c" top: "d" convolution_param '
        "{ num_output: 3 kernel_size: 2 stride: 2 }"
    )
    check_layer(text, [(2, 5, 4, 3), (2, 5, 4, 3)], reference, backend=backend)


@pytest.mark.parametrize("type_", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize(
    "window", ["kernel_size: 3 pad: 1", "kernel_size: 1", "kernel_size: 2 group: 8"]
)
def test_steps_allocate_nothing(backend, type_, window):
    text = f'type: "{type_}" convolution_param {{ num_output: 16 {window} }}'
    for shape in [(5, 8, 40, 30), (9, 8, 14, 12)]:
        assert allocated_bytes(text, [shape], backend=backend) < 4096
