"""`check_gradients`: what it calls right, wrong, a kink, or not to be checked."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import FileError, ShapeError, SpecError
from netspec.schema import LayerParameter
from runtime import check_gradients
from runtime.checking.report import GradientCheck
from runtime.layers.activation import BNLL, TanH
from runtime.layers.relu import ReLU

TANH = 'type: "TanH"'


def rows(result: GradientCheck) -> dict:
    return {row.name: row for row in result.rows}


def spoil(monkeypatch, kernel, change) -> None:
    """Let a kernel's gradient go through `change(kernel, dx)` at its end."""
    right = kernel.gradient

    def gradient(self, dx):
        right(self, dx)
        change(self, dx)

    monkeypatch.setattr(kernel, "gradient", gradient)


# ---------------------------------------------------------------- verdicts


def test_a_gradient_that_is_wrong_everywhere_is_told_with_its_place(monkeypatch):
    spoil(monkeypatch, TanH, lambda self, dx: dx.__imul__(1.5))
    result = check_gradients(TANH, shapes=[(2, 3)])
    assert not result.ok
    row = result.worst
    assert (row.name, row.kind, row.checked, row.wrong) == ("x", "blob", 6, 6)
    assert row.worst.analytic == pytest.approx(1.5 * row.worst.numerical)
    assert row.error == pytest.approx(1 / 3)
    lines = str(result).splitlines()
    assert lines[0] == "layer 'layer' (TanH): WRONG: x (eps 1e-05, rtol 1e-05)"
    assert lines[2].startswith("x ")
    assert lines[2].endswith("WRONG: 6 of 6")
    assert repr(result) == f"<GradientCheck: {lines[0]}>"
    page = result._repr_html_()
    assert "layer &#x27;layer&#x27; (TanH): WRONG: x" in page
    assert '<th class="number">error</th>' in page
    assert "<td>WRONG: 6 of 6</td></tr>" in page
    assert page.count("<tr>") == 2


def test_one_wrong_element_is_found_by_its_index(monkeypatch):
    def change(self, dx):
        dx[1, 2] += 0.25

    spoil(monkeypatch, TanH, change)
    row = check_gradients(TANH, shapes=[(2, 3)]).worst
    assert (row.worst.index, row.wrong) == ((1, 2), 1)
    assert row.worst.analytic - row.worst.numerical == pytest.approx(0.25)
    assert "[1, 2]" in str(check_gradients(TANH, shapes=[(2, 3)]))


def test_a_gradient_that_is_no_number_is_wrong(monkeypatch):
    spoil(monkeypatch, TanH, lambda self, dx: dx.fill(np.nan))
    result = check_gradients(TANH, shapes=[(2, 3)])
    assert result.worst.wrong == 6
    assert result.worst.error == np.inf


def test_a_right_gradient_is_right_to_many_digits():
    result = check_gradients(TANH, shapes=[(2, 3)])
    assert result.ok
    assert 0 < result.worst.error < 1e-8
    assert "all gradients are right" in str(result)


def test_with_a_smaller_tolerance_more_is_wrong(monkeypatch):
    spoil(monkeypatch, TanH, lambda self, dx: dx.__imul__(1 + 1e-4))
    assert not check_gradients(TANH, shapes=[(2, 3)]).ok
    assert check_gradients(TANH, shapes=[(2, 3)], rtol=1e-3).ok


# ---------------------------------------------------------------- kinks


def test_an_element_at_a_kink_is_counted_and_not_compared():
    values = [[0.0, 1.0, -1.0], [2.0, 0.0, -3.0]]
    result = check_gradients('type: "ReLU"', inputs=[values])
    assert result.ok
    assert (result.kinks, result.rows[0].kinks, result.rows[0].checked) == (2, 2, 6)
    assert "2 elements lie at a kink" in str(result)


def test_where_all_is_at_a_kink_the_row_says_that_nothing_was_compared():
    result = check_gradients('type: "ReLU"', inputs=[np.zeros((2, 3))])
    assert result.worst is None
    assert "nothing compared: only kinks" in str(result)


def test_a_kink_beside_the_value_is_none():
    result = check_gradients('type: "ReLU"', inputs=[[[3e-6, -2e-6, 0.5]]])
    assert result.ok
    assert result.kinks == 0


def test_a_gradient_beyond_both_slopes_is_wrong_at_a_kink_too(monkeypatch):
    spoil(monkeypatch, ReLU, lambda self, dx: np.multiply(self.dy, 1.5, out=dx))
    result = check_gradients('type: "ReLU"', inputs=[np.zeros((2, 3))])
    assert (result.kinks, result.rows[0].wrong) == (0, 6)


def test_a_steep_curve_is_no_kink(monkeypatch):
    steep = 'type: "Power" power_param { power: 2 scale: 1000 }'
    values = [[1e-4, -3e-5, 0.0]]
    assert check_gradients(steep, inputs=[values]).kinks == 0
    spoil(monkeypatch, BNLL, lambda self, dx: dx.__iadd__(0.01))
    result = check_gradients('type: "BNLL"', inputs=[values])
    assert (result.kinks, result.rows[0].wrong) == (0, 3)


# ---------------------------------------------------------------- what is given


def test_a_layer_may_be_given_in_any_form():
    n = NetSpec()
    n.x = L.Input(shape=dict(dim=[2, 3]))
    top = L.InnerProduct(n.x, num_output=4)
    message = LayerParameter(name="ip", type="InnerProduct")
    message.inner_product_param.num_output = 4
    text = 'type: "InnerProduct" inner_product_param { num_output: 4 } # of "{"'
    for given, shapes in ((top, None), (message, [(2, 3)]), (text, [(2, 3)])):
        result = check_gradients(given, shapes=shapes)
        assert result.ok
        assert [row.shape for row in result.rows] == [(2, 3), (4, 3), (4,)]


def test_a_lone_layer_gets_its_own_names_and_as_many_bottoms_as_it_needs():
    result = check_gradients('type: "EuclideanLoss" name: "e"', shapes=[(2, 3)] * 2)
    assert list(rows(result)) == ["a", "b"]
    assert str(result).startswith("layer 'e' (EuclideanLoss)")


def test_parameters_that_start_at_zero_do_not_hide_a_wrong_gradient():
    result = check_gradients(
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 2 }',
        shapes=[(2, 3, 4, 5)],
    )
    assert not any(row.zero for row in result.rows)


def test_a_gradient_of_zeros_is_told():
    text = 'type: "Power" power_param { power: 0 }'
    assert "zero everywhere" in str(check_gradients(text, shapes=[(2, 3)]))


def test_a_net_of_the_runtime_gives_its_values_and_stays_as_it_is():
    text = (
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 '
        'dim: 3 } } } layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
        "inner_product_param { num_output: 4 } }"
    )
    net = runtime.Net(text, runtime.TRAIN)
    net.params["ip"][0].data[...] = weights = np.arange(12).reshape(4, 3)
    net.blobs["x"].data[...] = values = np.full((2, 3), 0.5)
    found = rows(check_gradients(net))
    assert np.all(found["x"].worst.numerical != 0)
    np.testing.assert_array_equal(net.params["ip"][0].data, weights)
    np.testing.assert_array_equal(net.blobs["x"].data, values)
    assert not np.any(net.params["ip"][0].diff)
    net.params["ip"][0].data[...] = 0
    assert rows(check_gradients(net))["x"].zero


def test_values_from_a_weight_file_are_taken(tmp_path):
    layer = (
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
        "inner_product_param { num_output: 4 bias_term: false } }"
    )
    text = (
        'layer { name: "in" type: "Input" top: "x" '
        "input_param { shape { dim: 2 dim: 3 } } }"
    )
    net = runtime.Net(text + layer, runtime.TRAIN)
    net.save(tmp_path / "zeros.caffemodel")
    given = rows(check_gradients(text + layer, weights=tmp_path / "zeros.caffemodel"))
    assert given["x"].zero
    assert not rows(check_gradients(text + layer))["x"].zero


def test_a_weight_file_for_another_net_is_refused(tmp_path):
    net = runtime.Net(PAIR, runtime.TRAIN)
    net.save(tmp_path / "pair.caffemodel")
    ip = 'name: "c" type: "InnerProduct" inner_product_param { num_output: 4 }'
    with pytest.raises(SpecError, match=r"pair.caffemodel: no layer .* the file has a"):
        check_gradients(ip, shapes=[(2, 3)], weights=tmp_path / "pair.caffemodel")
    more = PAIR + f'layer {{ {ip} bottom: "y" top: "z" }}'
    result = check_gradients(more, weights=tmp_path / "pair.caffemodel")
    assert "pair.caffemodel has no weights of c; theirs are random" in str(result)


def test_random_values_follow_from_the_seed():
    def numbers(seed):
        worst = check_gradients(TANH, shapes=[(2, 3)], seed=seed).worst.worst
        return worst.analytic, worst.numerical

    assert numbers(3) == numbers(3) != numbers(4)


def test_a_large_array_is_sampled_and_the_number_told():
    result = check_gradients(TANH, shapes=[(30, 40)], samples=25)
    assert (result.rows[0].checked, result.rows[0].count) in {(25, 1200), (24, 1200)}
    assert f"{result.rows[0].checked} of 1,200" in str(result)


def test_the_largest_gradient_is_among_the_samples(monkeypatch):
    def change(self, dx):
        dx[17, 23] += 1000

    spoil(monkeypatch, TanH, change)
    result = check_gradients(TANH, shapes=[(30, 40)], samples=5)
    assert result.worst.worst.index == (17, 23)
    assert result.worst.wrong == 1


# ---------------------------------------------------------------- wrt


PAIR = """
    layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "a" type: "InnerProduct" bottom: "x" top: "h"
      inner_product_param { num_output: 4 } }
    layer { name: "t" type: "TanH" bottom: "h" top: "h" }
    layer { name: "b" type: "InnerProduct" bottom: "h" top: "y"
      inner_product_param { num_output: 5 } }
    """


def test_inputs_and_parameters_are_checked_by_default():
    assert list(rows(check_gradients(PAIR))) == ["x", "a[0]", "a[1]", "b[0]", "b[1]"]


@pytest.mark.parametrize(
    ("wrt", "found"),
    [
        ("h", ["h"]),
        (["b", "x"], ["x", "b[0]", "b[1]"]),
        (["a[1]"], ["a[1]"]),
        (["b", "b[0]", "h", "h"], ["h", "b[0]", "b[1]"]),
    ],
)
def test_blobs_layers_and_parameters_may_be_chosen(wrt, found):
    result = check_gradients(PAIR, wrt=wrt)
    assert result.ok
    assert list(rows(result)) == found


def test_a_blob_in_the_middle_is_what_its_last_layer_made(monkeypatch):
    spoil(monkeypatch, TanH, lambda self, dx: dx.__imul__(1.5))
    result = rows(check_gradients(PAIR, wrt=["h", "x"]))
    assert result["h"].ok  # above the layer whose gradient is wrong
    assert not result["x"].ok


@pytest.mark.parametrize("name", ["a[7]", "hh", "y"])
def test_what_has_no_gradient_cannot_be_chosen(name):
    with pytest.raises(SpecError, match=r"wrt: '.*' is no blob and no parameter with"):
        check_gradients(PAIR, wrt=name)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"layer 'layer' \(TanH\): bottom 'x' comes from outside; give its shape"),
        ({"shapes": {"z": (2,)}}, r"shapes: 'z' is no blob .* \(there are x\)"),
        ({"inputs": {"xx": [1]}}, r"inputs: 'xx' is no blob .*did you mean 'x'\?"),
        ({"shapes": [(2,), (3,)]}, r"shapes: got 2 for 1 blobs"),
        ({"inputs": [["a"]]}, r"inputs: 'x' is no array of numbers"),
        ({"inputs": [[np.inf]]}, r"inputs: 'x' holds values that are not finite"),
        ({"inputs": {"x": [1.0]}, "shapes": {"x": (2,)}}, r"'x': shapes say \(2,\)"),
        ({"shapes": [(2,)], "eps": 0}, r"eps is 0; expected"),
        ({"shapes": [(2,)], "rtol": 2}, r"rtol is 2; expected"),
        ({"shapes": [(2,)], "samples": 0}, r"samples is 0; expected"),
        ({"shapes": [(2,)], "seed": -1}, r"seed is -1; expected"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(SpecError, match=message):
        check_gradients(TANH, **arguments)


def test_an_objective_that_is_not_finite_is_refused_naming_the_layer():
    with pytest.raises(SpecError, match=r"not finite .* blob 'y' of layer 'layer' \(L"):
        check_gradients('type: "Log"', inputs=[[1.0, -2.0]])


def test_a_layer_in_place_without_a_gradient_is_refused():
    text = 'type: "Threshold" bottom: "x" top: "x"'
    with pytest.raises(SpecError, match=r"\(Threshold\): it runs in place and has no"):
        check_gradients(text, shapes=[(2, 3)])


DATA = (
    'layer { name: "d" type: "Data" top: "x" top: "l" data_param { source: "gone" '
    'batch_size: 2 backend: LMDB } } layer { name: "loss" type: "SoftmaxWithLoss" '
    'bottom: "x" bottom: "l" top: "loss" }'
)


def test_data_whose_file_is_not_there_needs_shapes():
    with pytest.raises(FileError, match=r"give the shapes of its tops \(--shape\)"):
        check_gradients(DATA)
    result = check_gradients(DATA, shapes={"x": (4, 3), "l": (4,)})
    assert result.ok
    assert list(rows(result)) == ["x"]
    with pytest.raises(ShapeError, match=r"\(Data\): its other tops need shapes"):
        check_gradients(DATA, shapes={"x": (4, 3)})


def test_a_name_of_a_blob_and_of_a_layer_means_both():
    text = PAIR.replace('bottom: "x" top: "h"', 'bottom: "x" top: "a"')
    text = text.replace('bottom: "h" top: "h"', 'bottom: "a" top: "h"')
    result = check_gradients(text, wrt="a")
    assert list(rows(result)) == ["a", "a[0]", "a[1]"]
