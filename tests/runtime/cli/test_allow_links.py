"""Commands read HDF5 files that refer to others only where they are told to."""

import numpy as np
import pytest

from runtime.__main__ import main

h5py = pytest.importorskip("h5py")


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("values.h5", "w") as file:
        file["x"] = np.ones((3, 2))
    with h5py.File("data.h5", "w") as file:
        file["x"] = h5py.ExternalLink("values.h5", "/x")
    (tmp_path / "list.txt").write_text("data.h5\n")
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { '
        'source: "list.txt" batch_size: 3 } } '
        'layer { name: "s" type: "Reduction" bottom: "x" top: "sum" }'
    )
    return "net.prototxt"


def test_links_are_refused_with_the_option_that_allows_them(net, capsys):
    assert main(["time", "--model", net, "--iterations", "1"]) == 1
    told = capsys.readouterr().err
    assert "data.h5: 'x' leads to '/x' in 'values.h5'" in told
    assert "or give --allow-links to the command" in told


def test_links_are_followed_where_that_is_allowed(net, capsys):
    assert main(["check", net, "--allow-links"]) == 0
    arguments = ["time", "--model", net, "--iterations", "1", "--allow-links"]
    assert main(arguments) == 0
    assert "Reduction" in capsys.readouterr().out
