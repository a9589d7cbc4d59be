import numpy as np
import pytest

from netspec.errors import ShapeError, SpecError, SpecWarning
from runtime.data.dataset import open_dataset
from runtime.data.given.streams import StreamEndedError
from tests.runtime.data.given.common import COUNT, INPUTS, arrays, check_epoch, read

X, Y = arrays()
STARTS = (0, 4, 8)


def items():
    yield from zip(X, Y, strict=True)


def batches():
    for start in STARTS:
        yield {"label": Y[start : start + 4], "data": X[start : start + 4]}


class Loader:
    """Can be read again and tells its length, as PyTorch's loaders do."""

    def __len__(self):
        return len(STARTS)

    def __iter__(self):
        return batches()


class Items:
    """Items by number, as PyTorch's data sets."""

    def __len__(self):
        return COUNT

    def __getitem__(self, number):
        if number >= COUNT:
            raise IndexError(number)
        return X[number], Y[number]


class Batches:
    """Whole batches by number, as a Sequence of Keras."""

    def __len__(self):
        return len(STARTS)

    def __getitem__(self, number):
        batch = list(batches())[number]
        return batch["data"], batch["label"]


@pytest.mark.parametrize(
    "make",
    [
        items,
        batches,
        Loader,
        Items,
        Batches,
        lambda: items,
        lambda: batches,
        lambda: list(items()),
        lambda: tuple(items()),
        lambda: list(batches()),
        lambda: lambda: Loader(),
        lambda: lambda: (X, Y),
    ],
)
def test_items_and_batches_of_any_kind_give_an_epoch(make):
    check_epoch(open_dataset(make(), INPUTS), X, Y)


@pytest.mark.parametrize("data", [items, batches, Loader(), Items(), Batches()])
def test_what_can_be_read_again_begins_anew_and_goes_back(data):
    dataset = open_dataset(data, INPUTS)
    first = read(dataset, 3)
    for number in (3, 5, 1, 1, 0, 7):
        for mine, other in zip(dataset.batch(number), first[number % 3], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_how_many_there_are_is_known_as_far_as_it_can_be():
    def known(data):
        dataset = open_dataset(data, INPUTS)
        return dataset.items, dataset.batches

    assert known(Items()) == (COUNT, 3)
    assert known(Batches()) == known(Loader()) == (None, 3)
    assert known(items) == known(batches()) == (None, None)
    dataset = open_dataset(items, INPUTS)
    dataset.batch(3)
    assert (dataset.items, dataset.batches) == (COUNT, 3)


def test_a_function_may_take_the_number_of_the_epoch():
    def epoch_of(epoch):
        return zip(X, Y + 10 * epoch, strict=True)

    dataset = open_dataset(epoch_of, INPUTS)
    assert [dataset.batch(n)[1][0] for n in range(5)] == [0, 4, 8, 10, 14]
    assert dataset.batch(9)[1][0] == 30  # three epochs further, without reading them
    assert dataset.batch(1)[1][0] == 4


def test_a_generator_is_read_once():
    dataset = open_dataset(items(), INPUTS)
    assert dataset.batch(1)[1].tolist() == [4, 5, 6, 7]  # batch 0 is passed over
    assert dataset.batch(1)[1].tolist() == [4, 5, 6, 7]
    with pytest.raises(SpecError, match="cannot go back .* give a function"):
        dataset.batch(0)
    assert dataset.batch(2)[1].tolist() == [8, 9]
    with pytest.raises(StreamEndedError, match="ended after 3 batches") as caught:
        dataset.batch(3)
    assert caught.value.batches == dataset.batches == 3


def test_a_function_that_returns_the_same_generator_is_found_out():
    generator = items()
    dataset = open_dataset(lambda: generator, INPUTS)
    read(dataset, 3)
    with pytest.raises(SpecError, match="in epoch 1; does the function return a new"):
        dataset.batch(3)


def test_an_epoch_that_is_shorter_is_filled_and_warned_of():
    lengths = iter([10, 5, 10, 10])
    dataset = open_dataset(lambda: list(items())[: next(lengths)], INPUTS)
    read(dataset, 3)
    assert [len(dataset.batch(n)[0]) for n in (3, 4)] == [4, 1]
    with pytest.warns(SpecWarning, match="had 2 batches in epoch 1, but 3"):
        assert dataset.batch(5)[1].tolist() == [0, 1, 2, 3]
    assert dataset.batch(6)[1].tolist() == [0, 1, 2, 3]


def test_batches_that_come_whole_keep_their_sizes_and_may_be_shuffled():
    sizes = [(X[:3], Y[:3]), (X[3:4], Y[3:4]), (X[4:], Y[4:])]
    dataset = open_dataset(sizes, INPUTS)
    assert [len(x) for x, _ in read(dataset, 3)] == [3, 1, 6]
    shuffled = open_dataset(sizes, INPUTS, shuffle=True)
    orders = {
        tuple(len(shuffled.batch(3 * epoch + n)[0]) for n in range(3))
        for epoch in range(9)
    }
    assert len(orders) > 2
    assert {tuple(sorted(order)) for order in orders} == {(1, 3, 6)}


def test_several_axes_may_stand_for_a_batch_if_all_shapes_are_those_of_the_inputs():
    inputs = {"x": (5, 3, 2), "cont": (5, 3), "label": (3,)}  # time first, as of LSTM
    batch = {name: np.ones(shape) for name, shape in inputs.items()}
    dataset = open_dataset([batch, batch], inputs, batch_size=1)
    assert [array.shape for array in dataset.batch(1)] == [*inputs.values()]


def test_items_of_one_input_and_what_may_be_both():
    dataset = open_dataset(iter(X), {"data": (4, 1, 6, 5)})
    assert dataset.batch(0)[0].shape == (4, 1, 6, 5)
    with pytest.raises(ShapeError, match="may be one item or a batch"):
        open_dataset([(X[0], Y[:1])], INPUTS)
    grey = open_dataset(iter(X[:, 0]), {"data": (4, 1, 6, 5)})
    assert grey.batch(2)[0].shape == (2, 1, 6, 5)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ([], SpecError, "the data have no items"),
        (iter([]), SpecError, "the data have no items"),
        (lambda: 5, SpecError, "the function given as data returns int"),
        (iter([5]), SpecError, "one int is given, but the net has 2 inputs"),
        (iter([(X[0, :, :3], 1)]), ShapeError, r"the first item: .* \(1, 3, 5\)"),
        (iter([(X[:4, :, :3], Y[:4])]), ShapeError, "the first batch: an item has"),
        (iter([(X[:4], Y[:3])]), ShapeError, "numbers of items: 'data' 4, 'label' 3"),
        (iter([{"data": X[0]}]), SpecError, "but no 'label'"),
        ([(X[0],)], SpecError, "1 array is given together"),
    ],
)
def test_streams_that_do_not_suit_are_refused_at_once(data, error, said):
    with pytest.raises(error, match=said):
        open_dataset(data, INPUTS)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ((X[:4, :, :3], Y[:4]), r"batch 1 of the data: an item has shape \(1, 3, 5\)"),
        ((X[:4], Y[:3]), "batch 1 of the data has different numbers of items"),
        ((X[:0], Y[:0]), "batch 1 of the data has no items"),
        ((X[:4] * np.nan, Y[:4]), "'data' has NaN in item 4 of the data"),
    ],
)
def test_later_batches_that_do_not_suit_are_refused_when_they_come(second, said):
    dataset = open_dataset([(X[:4], Y[:4]), second], INPUTS)
    dataset.batch(0)
    with pytest.raises(SpecError, match=said):
        dataset.batch(1)


def test_what_the_data_raise_says_where():
    class Broken(Items):
        def __getitem__(self, number):
            if number == 6:
                raise OSError("disk")
            return super().__getitem__(number)

    dataset = open_dataset(Broken(), INPUTS)
    dataset.batch(0)
    with pytest.raises(OSError, match="disk") as caught:
        dataset.batch(1)
    assert caught.value.__notes__ == ["raised by item 6 of the data"]
