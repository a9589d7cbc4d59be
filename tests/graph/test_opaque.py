"""Layers that nobody here can read, in a net that is looked at."""

import pytest

from netspec.errors import ShapeError, SpecError, UnknownShape
from netspec.graph import build, build_kept, diagnose
from netspec.graph.looking import kind_of, near_type, opaque_reason, told_type, whose
from netspec.nets.current import current
from netspec.nets.filter import kept_net
from netspec.nets.state import State
from netspec.ops import known_types
from netspec.ops.opaque import Opaque
from netspec.schema import TEST, LayerParameter

DATA = (
    'layer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 2 dim: 3 dim: 8 dim: 9 } } } "
)
STATE = State(TEST, 0, ())


def layer(name, kind, bottoms="", tops=None, extra=""):
    wires = "".join(f'bottom: "{b}" ' for b in bottoms.split())
    wires += "".join(f'top: "{t}" ' for t in (name if tops is None else tops).split())
    return f'layer {{ name: "{name}" type: "{kind}" {wires}{extra} }} '


def conv(name, bottom):
    options = "convolution_param { num_output: 4 kernel_size: 3 }"
    return layer(name, "Convolution", bottom, extra=options)


def look(text, **shapes):
    return diagnose(current(text), STATE, shapes=shapes)


def tops(found):
    names = [name for each in found.layers for name in each.top]
    return dict(zip(names, (s for each in found.tops for s in each), strict=True))


def test_shapes_below_an_unknown_type_are_unknown_and_others_are_not():
    text = DATA + layer("g", "Gizmo", "data") + conv("c", "g") + conv("d", "data")
    found = look(text)
    assert found.error is None
    assert found.graph is None
    shapes = tops(found)
    assert (shapes["g"], shapes["c"], shapes["d"]) == (None, None, (2, 4, 6, 7))
    (missing,) = found.missing
    assert isinstance(missing, UnknownShape)
    assert "type 'Gizmo' is not known here" in str(missing)
    assert "--shape g=N,C,H,W" in str(missing)


def test_a_shape_may_be_given_for_what_an_unknown_layer_makes():
    text = DATA + layer("g", "Gizmo", "data", "g h") + conv("c", "g") + conv("d", "h")
    found = look(text, g=(2, 5, 6, 6), h=(1, 2, 3, 4))
    assert tops(found)["c"] == (2, 4, 4, 4)
    assert tops(found)["d"] == (1, 4, 1, 2)
    ops = {op.layer.name: op for op in found.ops}
    assert isinstance(ops["g"], Opaque)
    assert found.graph is not None
    half = look(text, h=(1, 2, 3, 4))
    assert (tops(half)["g"], tops(half)["h"]) == (None, (1, 2, 3, 4))
    assert (tops(half)["c"], tops(half)["d"]) == (None, (1, 4, 1, 2))


def test_a_layer_in_place_keeps_the_shape_of_its_blob():
    text = DATA + conv("c", "data") + layer("g", "Gizmo", "c", "c") + conv("d", "c")
    found = look(text)
    assert tops(found)["d"] == (2, 4, 4, 5)
    assert found.graph is not None
    below = DATA + layer("u", "Gizmo", "data") + layer("v", "Gadget", "u", "u")
    assert tops(look(below))["u"] is None
    assert tops(look(below, u=(7, 3)))["u"] == (7, 3)


def test_a_shape_that_a_readable_layer_makes_cannot_be_given_another():
    text = DATA + layer("g", "Gizmo", "data") + conv("d", "data")
    assert look(text, d=(2, 4, 6, 7)).error is None
    found = look(text, d=(2, 4, 6, 8))
    assert isinstance(found.error, ShapeError)
    said = r"layer 'd' \(Convolution\): shape \(2, 4, 6, 8\) is given for top 'd', but "
    with pytest.raises(ShapeError, match=said + r"the layer makes \(2, 4, 6, 7\)"):
        raise found.error


def test_a_shape_below_what_is_unknown_may_be_given():
    text = DATA + layer("g", "Gizmo", "data") + conv("c", "g") + conv("d", "c")
    assert tops(look(text, c=(2, 4, 5, 5)))["d"] == (2, 4, 3, 3)


def test_a_shape_of_no_blob_is_refused():
    text = DATA + layer("gizmo", "Gizmo", "data")
    said = r"shape is given for 'gizno', which is no blob of this net; did .* 'gizmo'"
    with pytest.raises(SpecError, match=said):
        look(text, gizno=(1, 2))


def test_unknown_options_of_a_known_type_hide_its_shape():
    options = 'convolution_param { num_output: 4 unknown_fields: "warp: 2" }'
    text = DATA + layer("c", "Convolution", "data", extra=options) + conv("d", "c")
    found = look(text)
    assert (tops(found)["c"], tops(found)["d"]) == (None, None)
    assert "what 'warp: 2' does is not known here" in str(found.missing[0])
    assert tops(look(text, c=(2, 4, 6, 6)))["d"] == (2, 4, 4, 4)


def test_other_numbers_of_bottoms_are_explained_by_an_unknown_field():
    options = "convolution_param { num_output: 4 kernel_size: 3 }"
    text = DATA + layer("c", "Convolution", "data data data", "c", options)
    assert "makes as many tops as it has bottoms" in str(look(text).error)
    kept = options + ' unknown_fields: "param_bottoms: 2"'
    text = DATA + layer("c", "Convolution", "data data data", "c", kept)
    found = look(text + conv("d", "c"))
    assert found.error is None
    assert tops(found) == {"data": (2, 3, 8, 9), "c": None, "d": None}
    assert "what 'param_bottoms: 2' does is not known" in str(found.missing[0])


def test_mistakes_beside_an_unknown_type_are_still_found():
    twice = DATA + layer("g", "Gizmo", "data") + layer("g", "Gizmo", "data")
    assert "already produced" in str(look(twice).error)
    lost = DATA + layer("g", "Gizmo", "dota")
    assert "bottom 0 ('dota') is not the top of an earlier layer; did you mean" in str(
        look(lost).error
    )
    itself = DATA + layer("g", "Gizmo", "h", "g") + layer("h", "Gizmo", "g", "h")
    assert "bottom 0 ('h') is not the top of an earlier layer" in str(
        look(itself).error
    )
    weights = "loss_weight: 1 loss_weight: 2"
    heavy = DATA + layer("g", "Gizmo", "data", "a b c", weights)
    assert "loss_weight is given 2 times for 3 tops" in str(look(heavy).error)
    below = DATA + layer("g", "Gizmo", "data") + layer("p", "Pooling", "g g", "p")
    assert "Pooling" in str(look(below).error)


def test_a_net_that_is_to_run_is_refused_with_the_forks_of_the_type():
    text = DATA + layer("g", "PSROIAlign3", "data") + layer("m", "Gizmo", "data")
    said = (
        r"layer 'g' \(PSROIAlign3\): unknown layer type 'PSROIAlign3'.*@netspec.layer"
    )
    with pytest.raises(SpecError, match=said):
        build(current(text), STATE)
    with pytest.raises(SpecError, match="unknown layer type"):
        build(current(text), STATE, shapes={"g": (1,), "m": (2,)})


def test_a_graph_has_opaque_layers_where_it_is_asked_for():
    net = current(DATA + layer("g", "Gizmo", "data", extra='param { name: "w" }'))
    kept = kept_net(net, STATE)
    graph = build_kept(kept, shapes={"g": (2, 6)}, opaque=True)
    assert graph.edges[graph.blobs["g"]].shape == (2, 6)
    assert graph.node_of["g"].params == ()
    with pytest.raises(ShapeError, match="nobody knows the shape of its top 'g'"):
        build_kept(kept, opaque=True)


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("convolution", "Convolution"),
        ("RELU", "ReLU"),
        ("Relu", "ReLU"),
        ("INNER_PRODUCT", "InnerProduct"),
        ("Convolutoin", "Convolution"),
        ("Poolling", "Pooling"),
        ("Gizmo", None),
        ("Convolution3D", None),
        ("MyConvolution", None),
        ("", None),
    ],
)
def test_a_type_that_is_a_slip_says_of_which(kind, meant):
    assert near_type(kind) == meant
    said = opaque_reason(LayerParameter(type=kind))
    assert said == f"unknown type, did you mean {meant!r}?" if meant else "unknown type"


def test_a_type_of_an_old_file_without_a_new_name_is_told():
    kept = LayerParameter(name="f", unknown_fields=["type: WARP", "warp_param { }"])
    assert kind_of(kept) == "WARP"
    assert "unknown layer type 'WARP'; to run it" in told_type(kept)
    assert told_type(LayerParameter()) == (
        "unknown layer type ''; give one, as in type: \"ReLU\""
    )


def test_types_of_forks_are_no_slips_and_name_the_forks():
    known = set(known_types())
    strange = next(t for t in ("NormalizedConvolution", "Axpy", "BN") if t not in known)
    reason = opaque_reason(LayerParameter(type=strange))
    assert reason.startswith("unknown type")


def test_forks_are_listed_as_far_as_one_can_read():
    assert whose(()) == ""
    assert whose(["SSD"]) == "of SSD"
    assert whose(["SSD", "NVCaffe"]) == "of SSD and NVCaffe"
    assert whose(["A", "B", "C"]) == "of A, B and C"
    assert whose(["A", "B", "C", "D", "E"]) == "of A, B, C and 2 more"
