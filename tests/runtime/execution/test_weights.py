"""Weight files: read, copied by name, written whole, refused with the reason."""

import sys

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, MachineError, ShapeError, SpecError, SpecWarning
from netspec.schema import NetParameter
from netspec.weights import read_weights, writing
from runtime.execution import weights

h5py = pytest.importorskip("h5py")

NET = """
name: "shared"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 } } }
layer { name: "enc" type: "InnerProduct" bottom: "x" top: "h" param { name: "W" }
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "act" type: "PReLU" bottom: "h" top: "h"
        prelu_param { channel_shared: true } }
layer { name: "dec" type: "InnerProduct" bottom: "h" top: "y" param { name: "W" }
        inner_product_param { num_output: 5 transpose: true
                              bias_filler { type: "gaussian" } } }
"""


def net(seed=0, text=NET):
    return runtime.Net(text, seed=seed)


def arrays(one):
    return [blob.data.copy() for blobs in one.params.values() for blob in blobs]


def same(one, other):
    pairs = zip(arrays(one), arrays(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["w.caffemodel", "w.h5"])
def test_what_is_saved_is_what_is_copied(tmp_path, name):
    one, other = net(0), net(1)
    assert not same(one, other)
    (one.save_hdf5 if name.endswith("h5") else one.save)(tmp_path / name)
    report = other.copy_from(tmp_path / name)
    assert same(one, other)
    assert report.copied == ("enc", "act", "dec")
    assert (report.missing, report.unused) == ((), ())


def test_caffemodel_repeats_shared_parameters_and_keeps_the_layers(tmp_path):
    one = net()
    one.save(tmp_path / "w.caffemodel")
    data = (tmp_path / "w.caffemodel").read_bytes()
    message = NetParameter.FromString(data)
    assert message.name == "shared"
    assert [layer.type for layer in message.layer] == [
        "Input",
        "InnerProduct",
        "PReLU",
        "InnerProduct",
    ]
    enc, dec = message.layer[1], message.layer[3]
    assert list(enc.blobs[0].shape.dim) == list(dec.blobs[0].shape.dim) == [3, 5]
    np.testing.assert_array_equal(
        np.array(dec.blobs[0].data, np.float32).reshape(3, 5),
        one.params["enc"][0].data,
    )
    assert list(message.layer[2].blobs[0].shape.dim) == []


def test_hdf5_holds_shared_parameters_at_their_owner_only(tmp_path):
    net().save_hdf5(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert sorted(file["data/enc"]) == ["0", "1"]
        assert sorted(file["data/dec"]) == ["1"]


def test_layers_are_matched_by_name(tmp_path):
    one = net()
    one.save(tmp_path / "w.caffemodel")
    other = net(1, NET.replace('name: "act"', 'name: "act2"'))
    before = other.params["act2"][0].data.copy()
    said = r"w.caffemodel: 2 layers got their weights, but 'act2' did not and keep .*; "
    with pytest.warns(SpecWarning, match=said + "of the file, 'act' are in no layer"):
        report = other.copy_from(tmp_path / "w.caffemodel")
    assert report.copied == ("enc", "dec")
    assert report.missing == ("act2",)
    assert report.unused == ("act",)
    assert "not in the file: act2; not in the net: act" in str(report)
    np.testing.assert_array_equal(other.params["act2"][0].data, before)


def test_old_shapes_are_padded_in_front_and_doubles_are_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 5))
    message = NetParameter()
    layer = message.layer.add(name="enc", type="InnerProduct")
    layer.blobs.add(num=1, channels=1, height=3, width=5, double_data=values.ravel())
    layer.blobs.add(num=1, channels=1, height=1, width=3, data=[1, 2, 3])
    (tmp_path / "old.caffemodel").write_bytes(message.SerializeToString())
    one = net()
    with pytest.warns(
        SpecWarning, match="'act', 'dec' did not .*have. Layers are found"
    ):
        one.copy_from(tmp_path / "old.caffemodel")
    np.testing.assert_allclose(one.params["enc"][0].data, values, rtol=1e-6)
    np.testing.assert_array_equal(one.params["enc"][1].data, [1, 2, 3])


def test_nothing_is_copied_where_a_shape_differs(tmp_path):
    net().save(tmp_path / "w.caffemodel")
    other = net(1, NET.replace("num_output: 3", "num_output: 4"))
    before = arrays(other)
    with pytest.raises(
        ShapeError,
        match=r"layer 'enc' \(InnerProduct\), parameter 0 has shape \(4, 5\), the file "
        r"has \(3, 5\).*rename the layer",
    ):
        other.copy_from(tmp_path / "w.caffemodel")
    for array, kept in zip(arrays(other), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_another_number_of_parameters_is_refused(tmp_path):
    net().save(tmp_path / "w.caffemodel")
    text = NET.replace("num_output: 3", "num_output: 3 bias_term: false")
    with pytest.raises(ShapeError, match=r"'enc' .*has 1 parameters, the file has 2"):
        net(0, text).copy_from(tmp_path / "w.caffemodel")


@pytest.mark.parametrize(
    "content", [b"name: 'text'", b"\xff" * 50, b"\x89HDF\r\n\x1a\n"]
)
def test_files_that_hold_no_weights_are_refused(tmp_path, content):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(FileError, match=r"w: is (no weight file|broken)"):
        read_weights(tmp_path / "w")
    with pytest.raises(FileError, match=r"gone: cannot be read"):
        read_weights(tmp_path / "gone")


def test_file_cut_short_is_refused(tmp_path):
    net().save(tmp_path / "w.caffemodel")
    data = (tmp_path / "w.caffemodel").read_bytes()
    (tmp_path / "w.caffemodel").write_bytes(data[:-9])
    with pytest.raises(FileError, match="cut short"):
        net().copy_from(tmp_path / "w.caffemodel")


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(FileError, match="cannot be written: No space left"):
        net().save(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["w.caffemodel"]


def test_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        net().save(tmp_path)


def test_slashes_in_names_are_groups_in_hdf5_which_caffe_does_not_find(tmp_path):
    text = NET.replace('name: "act"', 'name: "a/b"').replace('name: "enc"', 'name: "a"')
    one, other = net(0, text), net(1, text)
    with pytest.warns(
        SpecWarning, match="1 layers, 'a/b' the first, .* Caffe does not"
    ):
        one.save_hdf5(tmp_path / "w.h5")
    assert other.copy_from(tmp_path / "w.h5").copied == ("a", "a/b", "dec")
    assert same(one, other)


@pytest.mark.parametrize("name", ["a//b", "/a", "a/./b", "a/", "enc/0", "a/0/b", ""])
def test_names_that_hdf5_takes_for_others_are_refused(tmp_path, name):
    one = net(0, NET.replace('name: "act"', f'name: "{name}"'))
    said = (
        rf"layer '{name}' \(PReLU\).*HDF5 cannot store|layer 'enc' .*HDF5 cannot store"
    )
    with pytest.raises(SpecError, match=said):
        one.save_hdf5(tmp_path / "w.h5")
    assert not list(tmp_path.iterdir())


def test_failed_hdf5_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.h5"
    path.write_bytes(b"old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(FileError, match=r"w.h5: cannot be written: No space left"):
        net().save_hdf5(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["w.h5"]


def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "encode_layer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net().save(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["w.caffemodel"]


def stored(path, layer_name, *blobs):
    message = NetParameter()
    layer = message.layer.add(name=layer_name, type="InnerProduct")
    for blob in blobs:
        layer.blobs.add(**blob)
    path.write_bytes(message.SerializeToString())
    return path


OLD_MATRIX = {"num": 1, "channels": 1, "height": 3, "width": 5, "data": range(15)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num": 3, "channels": 5, "height": 1, "width": 1}, r"\(3, 5, 1, 1\)"),
        ({"height": 5, "width": 3}, r"\(1, 1, 5, 3\)"),
    ],
)
def test_old_shapes_padded_elsewhere_do_not_fit(tmp_path, changed, message):
    bias = {"num": 1, "channels": 1, "height": 1, "width": 3, "data": [1, 2, 3]}
    path = stored(tmp_path / "w", "enc", {**OLD_MATRIX, **changed}, bias)
    with pytest.raises(
        ShapeError, match=rf"parameter 0 has shape \(3, 5\), the file has {message}"
    ):
        net().copy_from(path)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((4, 5), "take num_output of the file's net; to learn it from scratch, rename"),
        ((3, 6), "take the size of the bottom of the file's net; to learn"),
        ((4, 6), "take num_output and the size of the bottom of the file's net"),
    ],
)
def test_weights_of_another_shape_are_named_with_what_decides_it(tmp_path, shape, said):
    array = {"shape": {"dim": shape}, "data": range(shape[0] * shape[1])}
    bias = {"shape": {"dim": [shape[0]]}, "data": range(shape[0])}
    path = stored(tmp_path / "w.caffemodel", "enc", array, bias)
    sizes = rf"\(3, 5\), the file has \({shape[0]}, {shape[1]}\)"
    with pytest.raises(
        ShapeError, match=rf"w.caffemodel: layer 'enc' .* 0 has shape {sizes}; .*{said}"
    ):
        net().copy_from(path)


def test_transposed_weights_of_another_shape_are_told_no_option(tmp_path):
    array = {"shape": {"dim": (3, 6)}, "data": range(18)}
    bias = {"shape": {"dim": [5]}, "data": range(5)}
    path = stored(tmp_path / "w.caffemodel", "dec", array, bias)
    with pytest.raises(ShapeError, match=r"the file has \(3, 6\); to learn it from"):
        net().copy_from(path)


def test_array_with_another_number_of_values_is_refused(tmp_path):
    path = stored(tmp_path / "w", "enc", {**OLD_MATRIX, "data": range(14)})
    with pytest.raises(FileError, match=r"shape \(1, 1, 3, 5\) has 14 values"):
        net().copy_from(path)


def test_missing_hdf5_array_of_its_owner_is_refused(tmp_path):
    net().save_hdf5(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["data/enc/0"]
    with pytest.raises(ShapeError, match=r"layer 'enc' \(InnerProduct\) has 2 param"):
        net().copy_from(tmp_path / "w.h5")


def test_hdf5_arrays_of_another_shape_are_refused(tmp_path):
    net().save_hdf5(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["data/enc/1"]
        file["data/enc/1"] = np.ones((1, 3))
    one = net(1)
    before = arrays(one)
    with pytest.raises(
        ShapeError, match=r"parameter 1 has shape \(3,\), the file has \(1, 3\)"
    ):
        one.copy_from(tmp_path / "w.h5")
    for array, kept in zip(arrays(one), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_hdf5_file_without_weights_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["x"] = [1.0]
    with pytest.raises(FileError, match=r"w.h5: has no group 'data'"):
        net().copy_from(tmp_path / "w.h5")


def test_report_names_only_layers_with_parameters(tmp_path):
    net().save(tmp_path / "w.caffemodel")
    text = NET.replace('name: "enc"', 'name: "first"').replace('"dec"', '"last"')
    with pytest.warns(SpecWarning, match="1 layers got their weights"):
        report = net(1, text).copy_from(tmp_path / "w.caffemodel")
    assert report == weights.CopyReport(
        copied=("act",), missing=("first", "last"), unused=("enc", "dec")
    )
    assert str(report) == (
        "1 layers copied; not in the file: first, last; not in the net: enc, dec"
    )


def renamed(text, **names):
    for old, new in names.items():
        text = text.replace(f'name: "{old}"', f'name: "{new}"')
    return text


def test_a_file_that_gives_nothing_is_told_with_both_names(tmp_path):
    path = tmp_path / "w.caffemodel"
    net().save(path)
    other = renamed(NET, enc="a", act="b", dec="c")
    said = (
        "w.caffemodel: nothing is copied, .*: its layers are 'enc', 'act', 'dec', "
        "those of the net are 'a', 'b', 'c'. Give the layers of the net the names of"
    )
    with pytest.warns(SpecWarning, match=said) as seen:
        runtime.Net(other, runtime.TEST, path)
    assert len(seen) == 1
    runtime.Net(NET.split('layer { name: "enc')[0]).save(path)
    with pytest.warns(
        SpecWarning, match="nothing is copied, .*: it has none, those of"
    ):
        net().copy_from(path)


def test_layers_that_the_net_does_not_have_are_no_warning(tmp_path):
    path = tmp_path / "w.caffemodel"
    net().save(path)
    part = net(1, NET[: NET.index('layer { name: "dec"')])
    assert part.copy_from(path).unused == ("dec",)


def test_long_lists_of_names_are_cut():
    many = tuple(f"l{index}" for index in range(30))
    report = weights.CopyReport(copied=("a",), missing=many, unused=())
    with pytest.warns(SpecWarning, match="'l6', 'l7' and 22 more did not"):
        weights.warn_of_rest(["w"], [report])


def test_what_several_files_give_together_is_judged_together(tmp_path):
    def chain(*names):
        text = 'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { '
        text += "shape { dim: 2 dim: 3 } } }"
        for name in names:
            text += f'layer {{ name: "{name}" type: "Bias" bottom: "x" top: "{name}" }}'
        return text

    for name in "ab":
        runtime.Net(chain(name), runtime.TEST).save(tmp_path / f"{name}.caffemodel")
    files = ",".join(str(tmp_path / f"{name}.caffemodel") for name in "ab")
    solver = f"weights: '{files}' base_lr: 1 lr_policy: 'fixed' net_param {{ NET }}"
    runtime.get_solver(solver.replace("NET", chain("a", "b")))
    with pytest.warns(
        SpecWarning, match=r"a.caffemodel, .*b.caffemodel: .* 'c' did not"
    ):
        runtime.get_solver(solver.replace("NET", chain("a", "b", "c")))
    with pytest.warns(SpecWarning, match=r"b.caffemodel: nothing is copied") as seen:
        runtime.get_solver(solver.replace("NET", chain("a")))
    assert len(seen) == 1


def test_missing_h5py_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MachineError, match=r"need h5py; .*netspec\[data\]"):
        net().save_hdf5(tmp_path / "w.h5")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("data", 1.0, r"has no group 'data'"),
        ("data/enc", 1.0, r"/data/enc is no group of arrays"),
        ("data/enc/0", "text", r"'/data/enc/0' of .* holds object; expected real"),
        ("data/enc/0/deeper", 1.0, r"/data/enc/0 is no array of real numbers"),
    ],
)
def test_hdf5_files_of_something_else_are_refused(tmp_path, path, value, message):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file[path] = value
    with pytest.raises(FileError, match=message):
        read_weights(tmp_path / "w.h5")


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "w.caffemodel").write_bytes(b"")
    with pytest.raises(FileError, match=r"w.caffemodel: is empty; copy or save"):
        net().copy_from(tmp_path / "w.caffemodel")
