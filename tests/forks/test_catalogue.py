"""The catalogue of forks, and the schemas that are made of it."""

import subprocess
import sys

import pytest

from netspec import forks
from netspec.forks.catalogue import catalogue
from netspec.forks.schemas import schema_of
from tools import gen_forks


def test_owners_are_named_as_people_know_them():
    assert forks.owners("LayerParameter", "cpm_transform_param") == ("CPM",)
    assert forks.owners("CPMTransformationParameter", "stride") == ("CPM",)
    found = forks.owners("LayerParameter", "prior_box_param")
    assert found[0] == "SSD"
    assert {"RefineDet", "OpenCV"} < set(found)


def test_fields_of_caffe_are_nobody_elses():
    assert forks.owners("PoolingParameter", "kernel_size") == ()
    assert forks.owners("PoolingParameter", "no_such_field") == ()
    assert forks.owners("NoSuchMessage", "name") == ()


def test_owners_of_types():
    assert forks.type_owners("Interp")[:2] == ("PSPNet", "DeepLab v2")
    assert forks.type_owners("Axpy")[-1] == "SENet"
    assert forks.type_owners("Convolution") == ()


def test_the_catalogue_is_that_of_the_tables():
    assert gen_forks.main(["--check"]) == 0


def test_there_are_all_forks():
    assert len(catalogue().forks) == 90  # 87 with tables, two of types only, and Caffe


@pytest.mark.parametrize("fork", catalogue().by_word)
def test_every_fork_has_a_schema(fork):
    file = schema_of(fork)
    layer = file.message_types_by_name["LayerParameter"]
    assert layer.fields_by_name["convolution_param"].number >= 100


def test_numbers_are_those_of_the_fork():
    def number(fork, field):
        layer = schema_of(fork).message_types_by_name["LayerParameter"]
        return layer.fields_by_name[field].number

    assert number("pspnet", "bn_param") == 152
    assert number("caffe-windows", "bn_param") == 200
    assert number("segnet", "upsample_param") == 137
    assert number("bvlc", "embed_param") == 137
    layer = schema_of("segnet").message_types_by_name["LayerParameter"]
    assert "embed_param" not in layer.fields_by_name


def test_a_changed_field_takes_the_place_of_caffes():
    blob = schema_of("c3d-v1.0").message_types_by_name["BlobProto"].fields_by_name
    assert {name: field.number for name, field in blob.items()} == {
        "num": 1,
        "channels": 2,
        "length": 3,
        "height": 4,
        "width": 5,
        "data": 6,
        "diff": 7,
        "double_data": 8,
        "double_diff": 9,
    }


def test_importing_the_package_reads_no_tables():
    code = "import sys, netspec; print('netspec.forks.catalogue' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("table", "line", "problem"),
    [
        ("fields.txt", "[BlobProto] nobody\nx 1 int32\n", "nobody"),
        ("fields.txt", "[BlobProto] ssd\nx one int32\n", "is no row"),
        ("fields.txt", "[BlobProto] ssd\nx 900 Nothing\n", "no type Nothing"),
        ("fields.txt", "[BlobProto] ssd\nx 900 int32\ny 900 int32\n", "two rows"),
        ("types.txt", "Interp interp_param\n", "is no row of a type"),
    ],
)
def test_tables_that_cannot_be_are_refused(tmp_path, capsys, table, line, problem):
    folder = tmp_path / gen_forks.TABLES
    folder.mkdir(parents=True)
    for path in (gen_forks.ROOT / gen_forks.TABLES).glob("*.txt"):
        more = f"\n{line}" if path.name == table else ""
        (folder / path.name).write_text(path.read_text() + more)
    assert gen_forks.main([], tmp_path) == 1
    assert problem in capsys.readouterr().err
