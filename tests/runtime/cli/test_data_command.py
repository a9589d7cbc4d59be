"""`netspec-train data`: the commands of `python -m runtime.data` under one roof."""

import numpy as np
import pytest

from runtime.__main__ import main


def test_it_makes_what_the_module_makes(tmp_path, capsys):
    pytest.importorskip("h5py")
    np.save(tmp_path / "x.npy", np.zeros((4, 1, 2, 2), np.uint8))
    np.save(tmp_path / "y.npy", np.arange(4))
    files = [str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    out = str(tmp_path / "mine")
    assert main(["data", "arrays", *files, "--format", "hdf5", "-o", out]) == 0
    assert list(tmp_path.glob("mine*"))
    assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["data", "--help"], 0, "usage: netspec-train data [-h]"),
        (["data", "mean", "--help"], 0, "  netspec-train data mean images_lmdb"),
        (["data"], 2, "netspec-train data: error: the following arguments are"),
        (["data", "imges"], 2, "did you mean 'images'?"),
        (["dta"], 2, "did you mean 'data'?"),
        (["--help"], 0, "make databases that data layers read"),
    ],
)
def test_it_is_called_by_its_own_name(words, status, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words, prog="netspec-train")
    assert ended.value.code == status
    assert said in "".join(capsys.readouterr())
