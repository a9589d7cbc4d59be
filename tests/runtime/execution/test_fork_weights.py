"""Arrays of normalizations that forks of Caffe store otherwise."""

import pytest

import runtime
from netspec.errors import ShapeError

h5py = pytest.importorskip("h5py")


NORMALIZED = """
    layer { name: "x" type: "Input" top: "x"
            input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }
    layer { name: "norm" type: "%s" bottom: "x" top: "y" %s }
"""


@pytest.mark.parametrize(
    ("kind", "options", "stored", "advice"),
    [
        (
            "BatchNorm",
            "",
            "batch_norm_param { scale_bias: true }",
            "scale_bias: true }",
        ),
        (
            "BatchNorm",
            "",
            "batch_norm_param { bias_term: false }",
            r"add batch_norm_param \{ use_weight_bias: true bias_term: false \}",
        ),
        (
            "BN",
            "bn_param { bn_mode: LEARN }",
            "bn_param {}",
            r"another fork's BN: .* eps: 1e-5",
        ),
        ("BN", "bn_param { eps: 1e-5 }", "bn_param { bn_mode: LEARN }", "bn_mode: LEA"),
    ],
)
def test_normalizations_of_other_forks_are_told(
    tmp_path, kind, options, stored, advice
):
    runtime.Net(NORMALIZED % (kind, stored), runtime.TEST).save(
        tmp_path / "w.caffemodel"
    )
    net = runtime.Net(NORMALIZED % (kind, options), runtime.TEST)
    with pytest.raises(ShapeError, match=advice):
        net.copy_from(tmp_path / "w.caffemodel")
