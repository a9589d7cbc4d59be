"""Names that no file can have are mistakes like any other, wherever they stand."""

import pytest

import netspec
import runtime
from netspec.errors import NetspecError
from netspec.schema import TEST
from runtime.data import open_source
from tests.runtime.data.common import layer

for package in ("h5py", "PIL"):
    pytest.importorskip(package)

NET = 'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
LONG = "x" * 300


def of_source(kind, param, source):
    tops = 'top: "x" top: "t"' if kind == "ImageData" else 'top: "x"'
    backend = "backend: LMDB" if kind == "Data" else ""
    fields = f'source: "{source}" batch_size: 1 {backend}'
    return layer(f'type: "{kind}" {tops} {param} {{ {fields} }}')


def listed(folder, line):
    (folder / "list.txt").write_text(line)
    return folder / "list.txt"


WAYS = {
    "net": lambda name, _: netspec.load(name),
    "net to be run": lambda name, _: runtime.Net(name),
    "summary": lambda name, _: netspec.summarize(name),
    "weights": lambda name, _: runtime.Net(NET).copy_from(name),
    "solver": lambda name, _: runtime.get_solver(name),
    "database": lambda name, _: open_source(
        of_source("Data", "data_param", name), TEST, 0
    ),
    "list of HDF5 files": lambda name, _: open_source(
        of_source("HDF5Data", "hdf5_data_param", name), TEST, 0
    ),
    "HDF5 file": lambda name, folder: open_source(
        of_source("HDF5Data", "hdf5_data_param", listed(folder, name)), TEST, 0
    ),
    "list of images": lambda name, _: open_source(
        of_source("ImageData", "image_data_param", name), TEST, 0
    ),
    "image": lambda name, folder: open_source(
        of_source("ImageData", "image_data_param", listed(folder, f"{name} 1")), TEST, 0
    ),
    "image with a number": lambda name, folder: open_source(
        of_source("ImageData", "image_data_param", listed(folder, f"{name} 1 1")),
        TEST,
        0,
    ),
    "imported module": lambda name, _: netspec.load(f'import: "{name}" {NET}'),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_name_longer_than_names_are_is_an_error_of_ours(tmp_path, way):
    with pytest.raises(NetspecError, match="x{20}"):
        WAYS[way](LONG, tmp_path)


@pytest.mark.parametrize("number", ["2147483648", "-2147483648", "9" * 400])
def test_labels_beyond_caffes_numbers_are_refused(tmp_path, number):
    text = of_source("ImageData", "image_data_param", listed(tmp_path, f"a {number}"))
    said = r"list.txt:1: the label of 'a' is -?[29]\d+; the largest is 2147483647"
    with pytest.raises(NetspecError, match=said):
        open_source(text, TEST, 0)
