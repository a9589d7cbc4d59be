"""Functions of generated Python are modules of the net, where it has such."""

from netspec.commands.model_files import load_model
from netspec.to_python.source import python_source
from tests.test_architecture import ROOT


def source(model):
    return python_source(load_model(ROOT / "models" / f"{model}.py", deploy=True))


def main(text):
    """The body of the net's own function."""
    return text.split("\n\n\ndef ")[1]


def test_every_residual_block_is_one_call():
    text = source("resnet50")
    stages = zip("2345", ("abc", "abcd", "abcdef", "abc"), strict=True)
    for name in (f"{stage}{letter}" for stage, names in stages for letter in names):
        (line,) = (line for line in main(text).splitlines() if f'"{name}"' in line)
        assert "res_block(" in line
    assert text.count("def ") == 4


def test_every_inverted_bottleneck_is_one_call():
    text = source("mobilenet_v2")
    assert len(text.splitlines()) < 150
    for name in ("2_1", "4_5", "6_3"):
        assert main(text).count(f'conv_block(n, "{name}"') == 1


def test_modules_that_would_cost_too_much_are_cut_across():
    assert len(source("densenet").splitlines()) < 100
