"""The page of other readers in the documentation, and what writes it."""

import numpy as np
import pytest

from netspec.readers.rules import RULES
from tools.interop import __main__ as command
from tools.interop import layers, models, page
from tools.interop.attempt import Outcome, attempt
from tools.interop.examples import EXAMPLES, Example
from tools.interop.nets import computed, difference
from tools.interop.running import ReaderError, run


def test_the_page_is_what_the_rules_say():
    pytest.importorskip("onnx")
    assert page.mistakes(page.PAGE.read_text()) == []


def test_every_layer_type_has_a_row_or_is_no_part_of_a_net_for_use():
    assert layers.unlisted() == set()
    assert len({(one.kind, one.options) for one in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| `lenet` |", "| `lenett` |", "not those of `models`"),
        ("| < 1e-5 |", "|  |", "neither a number nor a reason"),
        ("\n1. ", "\n", "neither a number nor a reason"),
        ("| `transpose` |\n", "| `transposed` |\n", "no rule 'transposed'"),
    ],
)
def test_what_is_missing_in_the_table_of_models_is_told(old, new, said):
    table = page.part(page.PAGE.read_text(), "models")
    assert page.mistakes_of_models(table) == []
    assert old in table
    told = page.mistakes_of_models(table.replace(old, new, 1))
    assert any(said in each for each in told), told


def test_rows_are_read_back_as_they_were_written():
    refused = Outcome(None, "refused", "layer 'a' (Embed): MNN has none")
    found = {"opencv": Outcome(3e-7, rules=("tile",)), "mnn": refused}
    found["onnx"] = Outcome(3e-5, rules=("spp", "tile"))
    rows = {name: page.row_of(name, found) for name in ("lenet", "mnist_siamese")}
    table = page.models_part(rows)
    row = (
        "| `lenet` | `data` 2x1x28x28 | < 1e-5 | refused (1) | < 1e-4 | `spp`, `tile` |"
    )
    assert row in table
    assert "\n1. MNN: layer 'a' (Embed): MNN has none\n" in table
    assert page.rows_of(table) == rows


def test_a_page_that_differs_is_told(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    path = tmp_path / "interop.md"
    row = f"| `{RULES[0].name}` |"
    path.write_text(page.PAGE.read_text().replace(row, "| `other` |"))
    monkeypatch.setattr(command, "PAGE", path)
    assert command.main(["--check"]) == 1
    assert "the part 'rules' differs" in capsys.readouterr().err


def test_wrong_numbers_are_not_written(tmp_path, monkeypatch, capsys):
    path = tmp_path / "interop.md"
    path.write_text("as it was")
    monkeypatch.setattr(command, "PAGE", path)
    monkeypatch.setattr(command, "is_installed", lambda reader: True)
    monkeypatch.setattr(layers, "differences", lambda example: ())
    outcomes = {"opencv": Outcome(0.5), "mnn": Outcome(1e-7)}
    monkeypatch.setattr(models, "outcomes", lambda name: outcomes)
    assert command.main([]) == 1
    assert "lenet: OpenCV: off by 0.5" in capsys.readouterr().err
    assert path.read_text() == "as it was"


@pytest.mark.parametrize("reader", ["opencv", "mnn"])
def test_a_model_runs_in_a_reader(reader):
    pytest.importorskip({"opencv": "cv2", "mnn": "MNN"}[reader])
    outcome = models.outcomes("mnist_autoencoder_tied")[reader]
    assert outcome.shown == "< 1e-5"


def test_a_layer_that_a_reader_cannot_do_is_refused_with_its_reason():
    net = computed(Example("BatchReindex", "", [(3, 4), (5,)]).net())
    outcome = attempt("opencv", net)
    assert (outcome.off, outcome.verdict) == (None, "refused")
    assert "'layer' (BatchReindex)" in outcome.reason


def test_a_reader_that_fails_is_an_error_with_its_words(tmp_path):
    pytest.importorskip("cv2")
    with pytest.raises(ReaderError, match=r"opencv: error: .*net.prototxt"):
        run("opencv", tmp_path, {}, [], {})


def test_random_values_neither_vanish_nor_saturate():
    text = Example(
        "InnerProduct", "inner_product_param { num_output: 40 }", [(2, 300)]
    ).net()
    soft = 'layer { name: "p" type: "Softmax" bottom: "top" top: "p" }'
    done = computed(text + soft, {"x1": 100})
    (p,) = done.outputs.values()
    assert p.std() > 0.1 * p.mean()
    assert p.max() < 0.9
    again = computed(text + soft, {"x1": 100})
    np.testing.assert_array_equal(p, again.outputs["p"])


def test_differences_are_relative_and_shapes_count():
    want = np.float32([[1, -4]])
    assert difference(np.float32([[1, -3]]), want) == pytest.approx(0.25)
    assert difference(np.float32([1, -4]), want) == 0
    assert difference(np.float32([[1], [-4]]), want) == 0
    assert difference(np.float32([1, np.nan]), want) == np.inf
    assert difference(np.zeros((2, 3)), np.zeros((3, 2))) == np.inf
