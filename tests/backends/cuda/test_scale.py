"""Scale and Bias on the device against the portable kernels."""

import itertools

import pytest

from runtime.backends.cuda.layers.normalization import Scale
from runtime.backends.cuda.layers.scale import Bias, BroadScale
from tests.backends.cuda.oracle import check_own

PRECISIONS = ["float32", "bf16", "fp16"]
# The message, the shape of x, and that of the second bottom where there is one.
CASES = {
    "channels": ("", (3, 5, 4, 7), None),
    "packs of channels": ("", (2, 24, 5, 9), None),
    "rows": ("", (30, 9), None),
    "images": ("axis: 0", (3, 5, 4, 7), None),
    "last axis": ("axis: 2", (30, 16, 24), None),
    "columns": ("axis: 3", (3, 5, 4, 8), None),
    "lines": ("axis: 2", (3, 5, 6, 8), None),
    "two axes": ("axis: 1 num_axes: 2", (3, 5, 4, 7), None),
    "an image": ("num_axes: -1", (3, 2, 4, 7), None),
    "a number": ("num_axes: 0", (3, 2, 4, 7), None),
    "a blob of channels": ("", (3, 5, 4, 7), (5,)),
    "a blob of numbers of images": ("axis: 0", (3, 5, 4, 7), (3,)),
    "a blob of images and channels": ("axis: 0", (3, 5, 4, 7), (3, 5)),
    "a blob like x": ("axis: 0", (3, 5, 4, 2), (3, 5, 4, 2)),
    "a blob of one number": ("axis: 0", (3, 5, 4), ()),
    "many rows": ("", (1500, 8), None),
    "many places": ("", (2, 3, 30, 41), None),
}


CHANNELS = ("channels", "packs of channels", "rows", "many rows", "many places")


def own_of(kind, case):
    """Return the class that must take a layer."""
    if kind == "Bias":
        return Bias
    return Scale if case in CHANNELS else BroadScale


def text_of(kind, options, place="", more=""):
    low = kind.lower()
    num_axes = "num_axes: 1" if "num_axes" not in options else ""
    return f'type: "{kind}" {place} {low}_param {{ {options} {num_axes} {more} }}'


@pytest.mark.parametrize(
    "case, precision",
    [
        *itertools.product(CASES, PRECISIONS[:2]),
        *itertools.product(("channels", "two axes", "a blob like x"), ("fp16",)),
    ],
)
@pytest.mark.parametrize("kind, more", [("Scale", ""), ("Scale", "bias"), ("Bias", "")])
def test_it_is_the_portable_one(cuda, kind, more, case, precision):
    options, shape, small = CASES[case]
    own = own_of(kind, case)
    text = text_of(kind, options, more="bias_term: true" if more else "")
    bottoms = [shape] if small is None else [shape, small]
    for order in ("last", None) if precision == "float32" else ("last",):
        check_own(cuda, text, bottoms, precision=precision, own=own, order=order)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("case", ["channels", "last axis", "two axes", "images"])
@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_in_place(cuda, kind, case, precision):
    options, shape, _ = CASES[case]
    own = own_of(kind, case)
    text = text_of(kind, options, 'bottom: "x" top: "x"')
    for order in ("last", None):
        check_own(cuda, text, [shape], precision=precision, own=own, order=order)


@pytest.mark.parametrize("case", ["channels", "last axis", "images"])
@pytest.mark.parametrize(
    "bottom, params",
    [
        (True, (False, False)),
        (True, (True, False)),
        (False, (False, True)),
        (False, (True, True)),
        (False, (False, False)),
    ],
)
def test_wanted_gradients_only(cuda, case, bottom, params):
    options, shape, _ = CASES[case]
    for order in ("last", None):
        check_own(
            cuda,
            text_of("Scale", options, more="bias_term: true"),
            [shape],
            own=own_of("Scale", case),
            order=order,
            wanted_bottoms=(bottom,),
            wanted_params=params,
        )


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_wanted_gradients_of_two_blobs(cuda, kind, wanted):
    check_own(
        cuda,
        text_of(kind, ""),
        [(3, 5, 4, 7), (5,)],
        own=BroadScale if kind == "Scale" else Bias,
        order="last",
        wanted_bottoms=wanted,
    )


@pytest.mark.parametrize("kind", ["Scale", "Bias"])
@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 3, 2), (1, 1), (2, 4, 0, 3)])
def test_empty_blobs_and_single_values(cuda, kind, shape):
    own = own_of(kind, "channels")
    check_own(cuda, text_of(kind, ""), [shape], own=own, order="last")
