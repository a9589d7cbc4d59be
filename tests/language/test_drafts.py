"""A notebook draws a spec that cannot be written yet, with the mistake in red."""

import re

import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.draw import draw, draw_dot
from netspec.errors import SpecError


def start():
    n = NetSpec("draft")
    n.data = L.Input(shape=[1, 3, 9, 8])
    return n


def lost_name(n):
    n.data = L.ReLU(n.data)
    return "data: ReLU", "Input1", "lost its name, 'data'"


def read_before_in_place(n):
    n.a = L.ReLU(n.data, in_place=True)
    n.b = L.TanH(n.data)
    return "data: Input", "b", "reads blob 'data' as it was before layer 'a'"


def two_sources_of_a_blob(n):
    n.a = L.ReLU(n.data, name="same")
    n.b = L.ReLU(n.a, name="same")
    return "data: Input", "same", "another ReLU layer of this name"


def wrong_option(n):
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=3)
    n.conv.fn.params["kernel_sise"] = 5
    return "data: Input", "conv", "kernel_sise is no field of ConvolutionParameter"


def wrong_shape(n):
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=3)
    n.conv.fn.params["kernel_size"] = 50
    return "data: Input", "conv", "the kernel covers (50, 50) pixels"


MISTAKES = [
    lost_name,
    read_before_in_place,
    two_sources_of_a_blob,
    wrong_option,
    wrong_shape,
]


@pytest.mark.parametrize("make", MISTAKES)
def test_a_spec_that_cannot_be_written_is_drawn_with_its_mistake_in_red(make):
    n = start()
    right, wrong, said = make(n)
    shown = n._repr_mimebundle_()
    svg = shown["image/svg+xml"]
    assert svg.count('class="b b-wrong"') == 1
    assert said in shown["text/plain"]
    assert said.split("'")[0].split("(")[0] in re.sub(r"</text><text[^>]*>", " ", svg)
    (red,) = [line for line in draw_dot(n).splitlines() if "✗" in line]
    assert wrong in red
    assert "#d11a2a" in red  # the colour of mistakes
    assert any(right in line and "✗" not in line for line in draw_dot(n).splitlines())


def test_a_deleted_layer_that_is_needed_is_told_at_the_layer_that_reads_it():
    n = netspec.load(start().to_proto())
    n.mid = L.ReLU(n.data)
    n.end = L.TanH(n.mid)
    n = netspec.load(n.to_proto())
    del n["mid"]
    (red,) = [line for line in draw_dot(n).splitlines() if "✗" in line]
    assert "end: TanH" in red
    assert "reads 'mid', which was deleted at" in red
    with pytest.raises(SpecError, match="reads 'mid', which was deleted"):
        n.to_proto()


def test_a_spec_that_is_only_half_written_is_drawn():
    n = start()
    n.a, n.b = L.Slice(n.data, ntop=2, slice_point=1)
    n.conv = L.Convolution(n.a, num_output=2, kernel_size=3)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.files = L.Data(source="not there", batch_size=2)
    n.strange = netspec.layer("Strange", n.relu)
    shown = n._repr_mimebundle_()
    assert shown["text/plain"] == repr(n)
    assert "b-wrong" not in re.sub(r"<style>.*?</style>", "", shown["image/svg+xml"])
    assert "strange" in shown["image/svg+xml"]
    assert "<svg" in NetSpec()._repr_mimebundle_()["image/svg+xml"]


def test_a_spec_cannot_be_put_into_itself():
    n = start()
    n.inner = NetSpec()
    for folder in (n, n.inner):
        with pytest.raises(
            SpecError, match=r"test_drafts.py:\d+: 'loop': a NetSpec can"
        ):
            folder.loop = n
    assert n.keys() == ["data"]


def test_a_right_spec_is_drawn_as_its_net_is():
    n = start()
    n.relu = L.ReLU(n.data)
    assert draw(n) == draw(n.to_proto())
