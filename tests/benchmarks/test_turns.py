"""What the benchmarks count, repeat and write."""

import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("turns", "tables", "values"):
        sys.modules.pop(name, None)


@pytest.fixture
def turns():
    import turns

    return turns


def test_long_runs_are_all_counted_and_short_ones_warm_up(turns, monkeypatch):
    monkeypatch.setattr(turns, "PAUSE_S", 0)
    monkeypatch.setattr(turns, "BURST_S", 0.02)
    monkeypatch.setattr(turns, "WARM_UP_S", 0.01)
    runs = {"long": 0, "short": 0}

    def long():
        runs["long"] += 1
        time.sleep(0.03)

    def short():
        runs["short"] += 1
        time.sleep(0.001)

    found = turns.take_turns({"long": long, "short": short}, seconds=0)
    counted = {name: len(side.seconds) for name, side in found.sides.items()}
    assert counted["long"] == turns.LEAST_COUNTED
    assert turns.LEAST_COUNTED <= counted["short"] < runs["short"]
    assert found.ratio("long", "short") == pytest.approx(30, rel=0.5)
    low, high = found.quartiles("long", "short")
    assert low <= high


def test_a_burst_that_others_disturbed_is_taken_again(turns, monkeypatch):
    monkeypatch.setattr(turns, "PAUSE_S", 0)
    monkeypatch.setattr(turns, "BURST_S", 0)
    busy = iter([0.0, 1e9, 1e9, 1e9])  # the first burst, then one that is calm
    monkeypatch.setattr(turns, "busy_seconds", lambda: next(busy))
    told = iter(range(100))

    def clock():
        return float(next(told)) ** 2

    counted, share = turns._calm_burst(lambda: time.sleep(0.06), clock)
    assert share == 0
    assert counted == [3.0**2 - 2.0**2]


def test_the_share_of_others_grows_with_what_they_do(turns):
    first = turns.busy_seconds()
    if first is None:
        pytest.skip("this system does not tell how busy its processors are")
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert turns.busy_seconds() - first >= 0.15


def test_tables_go_between_their_markers_and_leave_out_empty_columns(tmp_path):
    import tables

    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n")
    table = tables.markdown(["net", "ours", "none"], [["lenet", "1", ""]])
    tables.write_into(page, table, "x")
    text = page.read_text()
    assert text.startswith("a\n<!-- x: begin -->\n\n| net | ours |\n| --- | ---: |")
    assert text.endswith("| lenet | 1 |\n\n<!-- x: end -->\nb\n")
    with pytest.raises(SystemExit, match="no place for y"):
        tables.write_into(page, table, "y")


def test_values_keep_deep_nets_from_overflowing():
    import nets
    import numpy as np
    from values import fill_inputs, give, trained_values

    import runtime

    param = nets.deploy_net("mobilenet_v2", 1)
    param.layer[0].input_param.shape[0].dim[2:] = [64, 64]
    net = runtime.Net(param, runtime.TEST)
    give(net, trained_values(param))
    fill_inputs(net)
    net.forward()
    outputs = net.blobs[net.outputs[0]].data
    assert np.isfinite(outputs).all()
    assert 0 < np.ptp(outputs) < 0.9  # no class takes all
    for name, blob in net.blobs.items():
        if name.endswith("/bn"):
            assert 0.1 < blob.data.std() < 3, name
