import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.errors import SpecError
from netspec.graph.memory import (
    ALIGNMENT_BYTES,
    Request,
    kept_edges,
    lay_out,
    requests_of,
)
from netspec.schema import TRAIN
from netspec.summary.forecast import forecast
from tests.example_nets import DATA, LABEL, fc, graph, layer
from tests.patience import processor_seconds

LOSS = layer("loss", "SoftmaxWithLoss", "s label", "l")


def aligned(nbytes):
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


@st.composite
def request_lists(draw):
    sizes = draw(st.lists(st.integers(0, 1000), max_size=40))
    requests = []
    for index, nbytes in enumerate(sizes):
        first = draw(st.integers(0, 20))
        last = first + draw(st.integers(0, 20))
        requests.append(Request(f"r{index}", nbytes, first, last))
    return requests


def peak(requests):
    steps = range(max((r.last for r in requests), default=0) + 1)
    return max(
        sum(aligned(r.nbytes) for r in requests if r.first <= step <= r.last)
        for step in steps
    )


@given(request_lists())
def test_what_lives_together_does_not_overlap(requests):
    offsets = lay_out(requests).offsets
    for place, one in enumerate(requests):
        for other in requests[place + 1 :]:
            if one.first <= other.last and other.first <= one.last:
                start, end = offsets[one.name], offsets[one.name] + one.nbytes
                other_start = offsets[other.name]
                apart = other_start >= end or other_start + other.nbytes <= start
                assert apart or not one.nbytes or not other.nbytes


@given(request_lists())
def test_every_place_is_aligned_and_inside(requests):
    layout = lay_out(requests)
    assert set(layout.offsets) == {request.name for request in requests}
    for request in requests:
        offset = layout.offsets[request.name]
        assert offset % ALIGNMENT_BYTES == 0
        assert 0 <= offset <= layout.total_bytes - request.nbytes


@given(request_lists())
def test_the_total_is_between_the_peak_and_the_sum(requests):
    total = lay_out(requests).total_bytes
    assert peak(requests) <= total <= sum(aligned(r.nbytes) for r in requests)


def test_memory_is_used_again():
    requests = [Request(f"r{step}", 1000, step, step + 1) for step in range(50)]
    assert lay_out(requests).total_bytes == 2 * aligned(1000)


def test_gaps_that_touch_are_merged():
    requests = [
        Request("a", 64, 0, 1),
        Request("b", 64, 0, 2),
        Request("top", 64, 0, 9),
        Request("wide", 128, 3, 4),
    ]
    assert lay_out(requests).total_bytes == 192


def test_the_largest_go_first_where_time_order_would_leave_holes():
    # In time order, whichever way, "wide" ends up above a hole of 64 bytes.
    requests = [
        Request("a", 64, 1, 2),
        Request("wide", 256, 2, 4),
        Request("b", 128, 3, 3),
        Request("c", 64, 4, 6),
    ]
    assert lay_out(requests).total_bytes == peak(requests)


def test_two_requests_of_one_name_are_refused():
    with pytest.raises(SpecError, match="two memory requests have the same name"):
        lay_out([Request("a", 1, 0, 0), Request("a", 2, 1, 1)])


@pytest.mark.parametrize("training", [False, True])
def test_twenty_thousand_requests_take_seconds(training):
    steps = 20_000
    last = 2 * steps - 1
    requests = [
        Request(str(i), 100 + i % 977, i, last - i if training else i + 1)
        for i in range(steps)
    ]
    with processor_seconds(5):
        lay_out(requests)


# What blobs want


def lives(text, *, training=True, keep=(), phase=TRAIN):
    built = graph(text, phase)
    requests = requests_of(built, training=training, keep=keep)
    by_blob = {}
    for request in requests:
        prefix, _, number = request.name.partition(":")
        blob = built.edges[int(number)].blob
        by_blob[f"{prefix} {blob}"] = (request.first, request.last)
    return by_blob, built


#         0    1       2  3   4   5
CHAIN = DATA + LABEL + fc("a", "data", "x", 5) + layer("t", "TanH", "x", "y")
CHAIN += fc("b", "y", "s", 7) + LOSS
END = 2 * 6 - 1


def test_data_lives_until_its_last_reader():
    by_blob, _ = lives(CHAIN, training=False)
    assert by_blob == {
        "data data": (0, END),
        "data label": (0, END),
        "data x": (2, 3),
        "data y": (3, 4),
        "data s": (4, 5),
        "data l": (0, END),
    }


def test_in_training_data_lives_until_the_gradient_that_reads_it():
    by_blob, _ = lives(CHAIN)
    assert by_blob["data x"] == (2, 3)  # TanH reads its output
    assert by_blob["data y"] == (3, END - 3)
    assert by_blob["data s"] == (4, 5)  # the loss saves probabilities


def test_gradients_live_from_their_writer_to_their_reader():
    by_blob, _ = lives(CHAIN)
    assert by_blob["diff s"] == (END - 5, END - 4)
    assert by_blob["diff y"] == (END - 4, END - 3)
    assert by_blob["diff x"] == (END - 3, END - 2)
    assert by_blob["diff l"] == (0, END)  # filled with the loss weight once
    assert "diff data" not in by_blob
    assert "diff label" not in by_blob


def test_kept_blobs_live_all_the_time():
    by_blob, _ = lives(CHAIN, keep={"x"})
    assert by_blob["data x"] == by_blob["diff x"] == (0, END)
    assert by_blob["data s"] == (4, 5)
    everything, _ = lives(CHAIN, keep=None)
    assert set(everything.values()) == {(0, END)}


def test_edges_in_place_are_one_request():
    text = DATA + LABEL + fc("a", "data", "s", 5) + layer("r", "ReLU", "s", "s") + LOSS
    by_blob, built = lives(text)
    assert len([name for name in by_blob if name.endswith(" s")]) == 2
    end = 2 * len(built.nodes) - 1
    assert by_blob["data s"] == (2, end - 3)
    assert by_blob["diff s"] == (end - 4, end - 2)


def test_a_gradient_nobody_writes_stays_zero_all_the_time():
    slicing = layer("c", "Slice", "x", "s q") + layer("z", "Silence", "q", "")
    text = DATA + LABEL + fc("a", "data", "x", 6) + slicing + LOSS
    by_blob, built = lives(text)
    assert by_blob["diff q"] == (0, 2 * len(built.nodes) - 1)


def test_a_top_of_a_split_without_a_gradient_wants_no_memory():
    accuracy = layer("acc", "Accuracy", "s label", "acc")
    text = DATA + LABEL + fc("a", "data", "s", 5) + accuracy + LOSS
    by_blob, _ = lives(text)
    assert "diff s_a_0_split_0" not in by_blob
    assert "diff s_a_0_split_1" in by_blob


def test_dummy_data_is_filled_once_and_lives_all_the_time():
    dummy = 'layer { name: "d" type: "DummyData" top: "x" '
    dummy += "dummy_data_param { shape { dim: 2 dim: 3 } } }"
    by_blob, _ = lives(dummy + fc("a", "x", "y", 5), training=False)
    assert by_blob["data x"] == (0, 3)


def test_kept_edges_are_those_of_blobs_that_live_the_whole_time():
    built = graph(CHAIN, TRAIN)
    for keep in ((), ("y",)):
        kept = {built.edges[number].blob for number in kept_edges(built, keep)}
        requests = requests_of(built, training=True, keep=keep)
        last = 2 * len(built.nodes) - 1
        whole = {
            built.edges[int(one.name.partition(":")[2])].blob
            for one in requests
            if one.name.startswith("data:") and (one.first, one.last) == (0, last)
        }
        assert kept == whole
        assert ("y" in kept) == ("y" in keep)
    every = kept_edges(built, None)
    assert every == frozenset(range(len(built.edges)))


def test_bigger_values_want_more():
    built = graph(CHAIN, TRAIN)
    small = requests_of(built, training=True, itemsize=4)
    large = requests_of(built, training=True, itemsize=8)
    assert [2 * r.nbytes for r in small] == [r.nbytes for r in large]


def test_the_forecast_adds_up():
    built = graph(CHAIN, TRAIN)
    values = 5 * 3 + 5 + 7 * 5 + 7
    memory = forecast(built, training=True, optimizer_history=2)
    assert memory["parameters"] == memory["parameter_gradients"] == 4 * values
    assert memory["solver_state"] == 2 * 4 * values
    assert memory["activations"] == 4 * (2 * 3 + 2 + 2 * 5 + 2 * 5 + 2 * 7 + 1)
    assert memory["gradients"] == 4 * (2 * 5 + 2 * 5 + 2 * 7 + 1)
    assert memory["total"] == 4 * 4 * values + memory["arena"]
    assert memory["saved"] == 4 * 2 * 7  # the probabilities of the loss
    all_blobs = memory["activations"] + memory["gradients"] + memory["saved"]
    assert memory["total_keep_all"] == 4 * 4 * values + all_blobs
    running = forecast(built, training=False)
    assert running["solver_state"] == running["parameter_gradients"] == 0
    assert running["gradients"] == 0
    assert running["total"] == 4 * values + running["arena"]


def test_reuse_makes_a_deep_net_small():
    text = DATA.replace('"data"', '"b0"')
    for index in range(50):
        text += fc(f"l{index}", f"b{index}", f"b{index + 1}", 1000)
    memory = forecast(graph(text), training=False)
    assert memory["activations"] == 4 * (2 * 3 + 50 * 2000)
    assert memory["arena"] < 4 * 4 * 2000
