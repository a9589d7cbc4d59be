import numpy as np
import pytest

from netspec.errors import ShapeError, SpecError, SpecWarning
from runtime.data.dataset import open_dataset
from runtime.data.given.values import Labels
from tests.runtime.data.given.common import COUNT, INPUTS, arrays, check_epoch, read

h5py = pytest.importorskip("h5py")

X, Y = arrays()
TEN = {"label": Labels(10, "layer 'loss' (SoftmaxWithLoss)")}


def test_arrays_come_in_order_with_a_smaller_last_batch():
    data = open_dataset((X, Y), INPUTS)
    assert (data.names, data.items, data.batches) == (("data", "label"), COUNT, 3)
    assert data.shapes == ((4, 1, 6, 5), (4,))
    assert [len(batch[0]) for batch in read(data, 4)] == [4, 4, 2, 4]
    check_epoch(data, X, Y)


@pytest.mark.parametrize(
    "dtype", ["float64", "int64", "uint16", "bool", "float16", "float32"]
)
def test_values_of_any_type_become_float32(dtype):
    x = (X % 2).astype(dtype)
    check_epoch(open_dataset((x, Y), INPUTS), x, Y)


@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 1), (COUNT, 1, 1, 1)])
@pytest.mark.parametrize("wanted", [(4,), (4, 1), (4, 1, 1, 1)])
def test_labels_may_have_axes_of_one(shape, wanted):
    inputs = {"data": (4, 1, 6, 5), "label": wanted}
    data = open_dataset((X, Y.reshape(shape)), inputs)
    assert data.batch(2)[1].shape == (2, *wanted[1:])
    check_epoch(data, X, Y)


def test_a_table_with_columns_of_several_types_holds_numbers():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [0.5, 1.5, 2], "b": [True, False, True]})
    table["c"] = [3, 4, 5]
    assert table.to_numpy().dtype == object
    for one in (table, table.convert_dtypes()):
        data = open_dataset(one, {"data": (3, 3)})
        np.testing.assert_array_equal(
            data.batch(0)[0], [[0.5, 1, 3], [1.5, 0, 4], [2, 1, 5]]
        )
    table["c"] = ["x", "y", "z"]
    with pytest.raises(SpecError, match="'data' holds text, such as 'x'"):
        open_dataset(table, {"data": (3, 3)})


def test_grey_images_need_no_axis_of_channels():
    check_epoch(open_dataset((X[:, 0], Y), INPUTS), X, Y)


def test_a_dict_names_the_inputs_in_any_order_and_more_is_warned_of():
    check_epoch(open_dataset({"label": Y, "data": X}, INPUTS), X, Y)
    with pytest.warns(SpecWarning, match="'id', which no input"):
        check_epoch(open_dataset({"label": Y, "data": X, "id": Y}, INPUTS), X, Y)


def test_lists_and_other_arrays_become_arrays():
    pandas = pytest.importorskip("pandas")
    check_epoch(open_dataset((X.tolist(), pandas.Series(Y)), INPUTS), X, Y)
    check_epoch(open_dataset([X, Y], INPUTS), X, Y)


def test_arrays_that_are_views_and_fortran_ordered():
    x = np.asfortranarray(np.repeat(X, 2, axis=0))[::2]
    check_epoch(open_dataset((x, Y[::-1]), INPUTS), X, Y[::-1])


@pytest.mark.parametrize("shuffle", [False, True])
def test_data_sets_of_an_open_file_are_read_as_needed(tmp_path, shuffle):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", data=X)
        data = open_dataset((x, Y), INPUTS, shuffle=shuffle)
        for batch in read(data, 3):
            numbers = batch[1].astype(int)
            np.testing.assert_array_equal(batch[0], X[numbers])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_shuffled_epochs_have_every_item_once_in_another_order(dtype):
    data = open_dataset((X.astype(dtype), Y), INPUTS, shuffle=True, seed=5)
    epochs = []
    for epoch in range(3):
        batches = [data.batch(3 * epoch + number) for number in range(3)]
        for x, y in batches:
            np.testing.assert_array_equal(x, X[y.astype(int)])
        epochs.append(np.concatenate([y for _, y in batches]).tolist())
    assert all(sorted(epoch) == Y.tolist() for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, Y]}) == 4
    again = open_dataset((X, Y), INPUTS, shuffle=True, seed=5)
    np.testing.assert_array_equal(again.batch(7)[1], data.batch(7)[1])
    np.testing.assert_array_equal(again.batch(1)[1], epochs[0][4:8])
    other = open_dataset((X, Y), INPUTS, shuffle=True, seed=6)
    assert other.batch(0)[1].tolist() != epochs[0][:4]


def test_a_batch_larger_than_the_data():
    data = open_dataset((X, Y), INPUTS, batch_size=64)
    assert data.batches == 1
    check_epoch(data, X, Y, 1)
    assert data.varies  # from what the shapes say


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (X, SpecError, r"one ndarray is given, .* 2 inputs: data, label; give one"),
        ((X, Y[:5]), ShapeError, "numbers of items: 'data' 10, 'label' 5"),
        ((Y, X), SpecError, "in the other order: the inputs .* data and label"),
        ((X.transpose(0, 2, 3, 1), Y), ShapeError, r"transpose\(0, 3, 1, 2\)"),
        ((X.reshape(10, 30), Y), ShapeError, r"give x.reshape\(-1, 1, 6, 5\)"),
        ((X[:, :, :5], Y), ShapeError, r"or give the Input shape \[batch, 1, 5, 5\]"),
        ((X[:0], Y[:0]), SpecError, "the data have no items"),
        ((), SpecError, "the data have no items"),
        ((X, Y.astype(str)), SpecError, "'label' holds text .* np.unique"),
        ((X, np.array([[1], 2] * 5, object)), SpecError, r"objects.* such as \[1\]"),
        ((X, np.array([*"ab"] * 5, object)), SpecError, "text, such as 'a'.*np.unique"),
        ((X, np.array([None] * 10, object)), SpecError, "objects.* such as None"),
        ((X, Y * 1j), SpecError, "'label' holds complex128; expected real numbers"),
        ((X, np.ma.masked_less(Y, 3)), SpecError, "'label' has masked values"),
        ((X, 3), ShapeError, "data for 'label' is one number"),
        ((X, np.eye(10)), ShapeError, r"one-hot, give y.argmax\(axis=1\)"),
        ({"data": X}, SpecError, "but no 'label'"),
        ({"data": X, "labels": Y}, SpecError, "did you mean 'labels'"),
        ((X, Y, Y), SpecError, "3 arrays are given together, but the net has 2 inputs"),
        (5, SpecError, "data is 5, which cannot be read"),
        (None, SpecError, "data is None"),
    ],
)
def test_data_that_do_not_suit_are_refused(data, error, said):
    with pytest.raises(error, match=said):
        open_dataset(data, INPUTS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_that_are_not_finite_are_refused_with_their_item(value, dtype):
    x = X.astype(dtype)
    x[7, 0, 2, 3] = value
    with pytest.raises(SpecError, match="'data' has .* in item 7 of the data"):
        open_dataset((x, Y), INPUTS)


def test_values_beyond_float32_are_refused_when_they_are_read():
    x = X.astype(np.float64)
    x[9, 0, 0, 0] = 1e300
    for transform in (None, lambda item, rng: item):
        data = open_dataset((x, Y), INPUTS, transform=transform)
        with pytest.raises(SpecError, match="'data' has an infinite value in item 9"):
            data.batch(2)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (Y + 1, "label 10 in item 9 .* 10 classes .* count from 1: give y - 1"),
        (Y + 2, "num_output=12 or more"),
        (Y - 1, "label -1 in item 0 .* ignore_label"),
        (Y + 0.5, r"label 0.5 in item 0 .*whole numbers from 0 to 9"),
    ],
)
def test_labels_that_are_no_classes_are_refused(y, said):
    with pytest.raises(SpecError, match=said):
        open_dataset((X, y), INPUTS, labels=TEN)


def test_labels_that_are_ignored_may_be_any():
    labels = {"label": Labels(10, "layer 'loss' (SoftmaxWithLoss)", (255,))}
    y = np.where(Y == 4, 255, Y)
    check_epoch(open_dataset((X, y), INPUTS, labels=labels), X, y)
    with pytest.raises(SpecError, match="label 255"):
        open_dataset((X, y), INPUTS, labels=TEN)


def test_large_whole_numbers_are_warned_of():
    with pytest.warns(SpecWarning, match="'label' has whole numbers above 16,777,216"):
        open_dataset((X, Y + 2**24), INPUTS)


@pytest.mark.parametrize(
    ("inputs", "size", "said"),
    [
        ({}, None, "the net has no inputs"),
        ({"data": (4, 1, 6, 5), "label": ()}, None, "the first dimension is the batch"),
        ({"data": (4, 1, 6, 5), "label": (3,)}, None, "batches of different sizes"),
        ({"data": (1, 6, 5), "label": (1,)}, None, r"write shape=\[64, 1, 6, 5\]"),
        (INPUTS, 0, "batch_size is 0; expected at least 1"),
        (INPUTS, 2.5, "batch_size is 2.5; expected a whole number"),
    ],
)
def test_inputs_and_sizes_that_cannot_be(inputs, size, said):
    with pytest.raises(SpecError, match=said):
        open_dataset((X, Y), inputs, batch_size=size)


def test_one_input_takes_one_array():
    data = open_dataset(X, {"data": (4, 1, 6, 5)})
    np.testing.assert_array_equal(data.batch(1)[0], X[4:8])
    data = open_dataset((X,), {"data": (4, 1, 6, 5)})
    np.testing.assert_array_equal(data.batch(1)[0], X[4:8])
    with pytest.raises(SpecError, match="2 arrays are given .* 1 input: data"):
        open_dataset((X, Y), {"data": (4, 1, 6, 5)})


def test_a_data_set_is_taken_as_it_is_if_it_fills_the_inputs():
    data = open_dataset((X, Y), INPUTS)
    assert open_dataset(data, INPUTS) is data
    with pytest.raises(SpecError, match="fills data, label, the inputs are data"):
        open_dataset(data, {"data": (4, 1, 6, 5)})
