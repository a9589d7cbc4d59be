"""MemoryData layers deliver the arrays that they are given."""

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError, UnsupportedError
from netspec.schema import TEST
from runtime.data import open_source
from tests.runtime.data.common import batches, layer, pixels

MEMORY = """type: "MemoryData" top: "x" top: "t"
            memory_data_param { batch_size: 2 channels: 3 height: 6 width: 5 }"""


def test_arrays_are_delivered_in_turn():
    source = open_source(layer(MEMORY), TEST, 0)
    with pytest.raises(SpecError, match="call net.set_input_arrays"):
        source.next()
    source.set_arrays(pixels(6), np.arange(6))
    labels = [t.ravel().tolist() for _, t in batches(source, 4)]
    assert labels == [[0, 1], [2, 3], [4, 5], [0, 1]]
    source.seek(2)
    np.testing.assert_array_equal(source.next()[0], pixels(6)[4:])


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (
            (4, 3, 5, 6),
            (4,),
            r"must have shape \(M, 3, 6, 5\), got \(4, 3, 5, 6\)",
        ),
        ((4, 3, 6, 5), (5,), r"labels must have shape \(4,\).*got \(5,\)"),
        ((3, 3, 6, 5), (3,), "3 items are no multiple of the batch_size 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(data, labels, message):
    source = open_source(layer(MEMORY), TEST, 0)
    with pytest.raises(ShapeError, match=message):
        source.set_arrays(np.zeros(data), np.zeros(labels))


def test_what_reads_no_files_is_refused_with_what_does():
    with pytest.raises(UnsupportedError, match=r"\(Input\).*use Data \(LMDB\)"):
        open_source(layer('type: "Input" top: "x"'), TEST, 0)


def test_net_takes_arrays_and_gives_the_labels_four_axes():
    net = runtime.Net(f'layer {{ name: "d" {MEMORY} }}')
    assert net.blobs["t"].shape == (2,)
    with pytest.raises(SpecError, match="'d' .*call net.set_input_arrays"):
        net.forward()
    net.set_input_arrays(pixels(4)[..., ::-1], np.arange(4.0)[:, None, None, None])
    out = [{k: v.copy() for k, v in net.forward().items()} for _ in range(2)]
    assert out[0]["t"].shape == (2, 1, 1, 1)
    np.testing.assert_array_equal(out[1]["t"].ravel(), [2, 3])
    np.testing.assert_array_equal(out[1]["x"], pixels(4)[2:, ..., ::-1])


def test_new_arrays_are_delivered_from_their_start():
    source = open_source(layer(MEMORY), TEST, 0)
    source.set_arrays(pixels(6), np.arange(6))
    source.next()
    source.set_arrays(pixels(4), np.arange(4) + 10)
    assert source.next()[1].ravel().tolist() == [10, 11]
    source.close()
    with pytest.raises(SpecError, match="has no data yet"):
        source.next()


def test_sizes_of_memory_data_must_be_given():
    text = layer(MEMORY.replace("height: 6", ""))
    with pytest.raises(SpecError, match=r"must be given and above 0, got 2 and \(3, 0"):
        open_source(text, TEST, 0)


def test_smallest_images_and_batches():
    text = "memory_data_param { batch_size: 1 channels: 1 height: 1 width: 1 }"
    source = open_source(layer(f'type: "MemoryData" top: "x" top: "t" {text}'), TEST, 0)
    source.set_arrays(np.array([5, 6]).reshape(2, 1, 1, 1), np.array([8, 9]))
    assert [[a.item() for a in batch] for batch in batches(source, 3)] == [
        [5, 8],
        [6, 9],
        [5, 8],
    ]
