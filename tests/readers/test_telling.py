"""The warning of the plain export, and folding on the way to a reader."""

import subprocess
import sys

import pytest

from netspec.errors import SpecError
from netspec.export import main
from netspec.readers import check_for
from netspec.text import as_net
from tests.readers.running import Case, net_of
from tests.readers.value_cases import of

LRN = of("LRN", "local_size: 3 alpha: 0.5 k: 2")
IMAGE = (2, 3, 4, 5)


def exported(tmp_path, capsys, text, *options):
    """Return what the plain export says on the error stream."""
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    assert main([str(path), *options]) == 0
    return capsys.readouterr().err


def test_one_warning_names_readers_layers_and_the_fix(tmp_path, capsys):
    layers = "".join(of("LRN", "k: 2", name=f"n{i}", top=f"t{i}") for i in range(5))
    told = exported(tmp_path, capsys, net_of(layers, x=IMAGE))
    assert told.count("\n") == told.count("warning:") == 1
    assert "OpenCV 4.14.0, MNN 3.6.1, ncnn" in told
    assert "layer 'n0' (LRN): " in told
    assert "'n2' (LRN): " in told
    assert ", and 2 more. " in told
    assert "'n3'" not in told
    assert "--for opencv or --for mnn or --for ncnn" in told


@pytest.mark.parametrize(
    "text",
    [
        net_of(of("LRN", "local_size: 3 alpha: 0.5"), x=IMAGE),
        net_of(LRN + of("EuclideanLoss", bottom="x y", name="l", top="l"), x=IMAGE),
        'layer { name: "d" type: "Data" top: "x" data_param { source: "s" '
        "batch_size: 2 } transform_param { crop_size: 4 force_color: true } }" + LRN,
        net_of(LRN, x=(2, 3)),
    ],
    ids=["right", "with a loss", "with data", "of wrong shape"],
)
def test_nothing_is_said_of_other_nets(tmp_path, capsys, text):
    assert "without a word" not in exported(tmp_path, capsys, text)


def test_values_of_a_net_are_not_needed_for_the_warning(tmp_path, capsys):
    net = as_net(net_of(of("InnerProduct", "num_output: 2 transpose: true"), x=(2, 3)))
    net.layer[1].blobs.add(data=range(6)).shape.dim.extend((3, 2))
    net.layer[1].blobs.add(data=range(2)).shape.dim.extend((2,))
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert main([str(path), "-o", str(tmp_path / "to.caffemodel")]) == 0
    assert "'y' (InnerProduct): transpose" in capsys.readouterr().err


def test_numpy_is_not_loaded_for_a_net_for_training():
    code = (
        "import sys; from netspec.export import main; "
        "assert main(['models/lenet.py', '-o', sys.argv[1]]) == 0; "
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, "/dev/null"], check=True)


NORMALIZED = (
    of("Convolution", "num_output: 4 kernel_size: 3", name="c", top="c")
    + of("BatchNorm", bottom="c", name="b", top="c")
    + of("Scale", "bias_term: true", bottom="c", name="s", top="c")
    + of("ReLU", bottom="c")
)


@pytest.mark.parametrize("reader", ["opencv", "mnn"])
def test_folding_puts_normalization_into_weights(reader):
    case = Case(net_of(NORMALIZED, x=IMAGE))
    done = case.exported(reader, fold=True)
    assert {"b", "s"}.isdisjoint(layer.name for layer in done.model.net.layer)
    folded = [each for each in done.report.rewritten if each.rule == "fold"]
    assert [each.layer for each in folded] == [
        "layer 'b' (BatchNorm)",
        "layer 's' (Scale)",
    ]
    assert "a part of layer 'c' (Convolution)" in folded[0].text
    assert case.differences(reader, done)["y"] < 1e-5


def test_folding_leaves_the_statistics_of_a_batch():
    text = net_of(
        NORMALIZED.replace(
            'type: "BatchNorm"',
            'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
        ),
        x=IMAGE,
    )
    done = Case(text).exported("opencv", fold=True)
    assert "batch-statistics" in {each.rule for each in done.report.rewritten}


def test_folding_needs_values():
    with pytest.raises(SpecError, match="the model has none; give its weights"):
        check_for(net_of(NORMALIZED, x=IMAGE), "opencv", fold=True)


def test_fold_goes_with_for(capsys):
    with pytest.raises(SystemExit):
        main(["models/lenet.py", "--fold"])
    assert "--fold goes with --for" in capsys.readouterr().err
