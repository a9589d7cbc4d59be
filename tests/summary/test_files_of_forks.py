"""Summaries of files as users of forks have them."""

from tests.summary.test_summary import run

TRAIN_ONLY = """
layer { name: "in" type: "DummyData" top: "x" include { phase: TRAIN }
  dummy_data_param { shape { dim: [2, 3] } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 4 } }
"""


def test_a_file_with_data_for_training_alone_is_shown_so(capsys, tmp_path):
    path = tmp_path / "train.prototxt"
    path.write_text(TRAIN_ONLY)
    status, out, _ = run(capsys, path)
    assert (status, "phase TRAIN: 2 layers, 16 parameters" in out) == (0, True)
    status, _, err = run(capsys, path, "--phase", "TEST")
    assert (status, "('x') is not the top of an earlier" in err) == (1, True)


def test_the_fork_of_the_command_decides_what_a_layer_is(capsys, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(TRAIN_ONLY + 'layer { name: "n" type: "BN" bottom: "y" top: "n" }')
    assert "32 parameters" in run(capsys, path, "--fork", "tsn")[1]
    assert "24 parameters" in run(capsys, path, "--fork", "segnet")[1]
