"""`benchmarks/gpu.py`: who measures when, what is left out, and the table.

Its children are played by a script: a GPU and PyTorch are not needed.
"""

import json
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Gets ready after a while, measures for a while, and writes down when it did.
CHILD = """
import json, pathlib, sys, time
net, batch, precision = sys.argv[1:4]
name, ready, work = net.split("-")
time.sleep(float(ready))
if name == "dies":
    sys.exit("no such net")
print("a library's words")
print(json.dumps({"ready": True}), flush=True)
assert 0 < float(sys.stdin.readline()) < 50
began = time.time()
time.sleep(float(work))
record = {"net": net, "batch": int(batch), "precision": precision}
for who, ms in (("ours", 2.0), ("eager", 6.0), ("channels_last", 5.0)):
    print(json.dumps(record | {"who": who, "ms": ms, "per_second": 1000 / ms,
        "peak_mib": 100.0, "host_ms": 1.0, "first_loss": 2.5, "loss": 1.0}), flush=True)
print(json.dumps(record | {"who": "compile", "error": "Broken: by us"}), flush=True)
with open(FILE, "a") as file:
    file.write(json.dumps([net, began, time.time()]) + "\\n")
print(json.dumps({"done": True}), flush=True)
time.sleep(60)
"""


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    script = tmp_path / "child.py"
    script.write_text(CHILD.replace("FILE", repr(str(tmp_path / "turns"))))
    monkeypatch.setattr(gpu, "TURN", script)
    monkeypatch.setattr(gpu, "LEAST_SECONDS", 0.0)
    yield gpu
    sys.modules.pop("gpu", None)


def run(gpu, folder, *arguments):
    out = folder / "results"
    options = gpu.read_arguments(
        [*arguments, "--out", str(out), "--log", str(folder / "log")]
    )
    bench = gpu.Bench(options)
    bench.run()
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert records == bench.records
    turns = folder / "turns"
    return records, (
        [json.loads(line) for line in turns.read_text().splitlines()]
        if turns.exists()
        else []
    )


def test_one_measures_at_a_time_and_the_first_named_that_is_ready(gpu, tmp_path):
    names = ["a-0-0.3", "b-0-0.3", "c-0.1-0.3", "dies-0-0", "e-0-0.3"]
    records, turns = run(
        gpu, tmp_path, *(f"{n}/4/tf32" for n in names), "--seconds", "0.1"
    )
    for (_, _, ended), (_, began, _) in pairwise(turns):
        assert began >= ended - 0.02
    assert sorted(name for name, _, _ in turns) == ["a-0-0.3", "b-0-0.3", *names[2:5:2]]
    assert sum("ms" in record for record in records) == 12
    dead = [record for record in records if record["net"] == "dies-0-0"]
    assert [record["error"] for record in dead] == ["ended with status 1"]
    assert "no such net" in (tmp_path / "log").read_text()


def test_nothing_measures_before_the_file_is_there(gpu, tmp_path):
    gate = tmp_path / "gate"
    opened = []

    def open_gate():
        time.sleep(1.5)
        opened.append(time.time())
        gate.touch()

    opener = threading.Thread(target=open_gate)
    opener.start()
    _, turns = run(
        gpu, tmp_path, "a-0-0/4/bf16", "--wait-for", str(gate), "--seconds", "0.1"
    )
    opener.join()
    assert turns[0][1] >= opened[0]


def test_what_there_was_no_time_for_is_named(gpu, tmp_path):
    began = time.monotonic()
    records, turns = run(
        gpu,
        tmp_path,
        *("a-4-30/4/tf32", "b-0-30/256/bf16", "c-0-0/1/tf32", "--jobs", "1"),
        *("--limit", "4", "--seconds", "0.1"),  # which begin when the first is ready
    )
    assert time.monotonic() - began < 30
    assert turns == []
    said = {gpu.title(r): r.get("error") or r.get("skipped") for r in records}
    assert said == {
        "a-4-30/4/tf32": "its turn took too long",
        "b-0-30/256/bf16": "no time was left",
        "c-0-0/1/tf32": "no time was left",
    }


def test_what_never_gets_ready_is_dropped_and_the_next_one_runs(gpu, tmp_path):
    records, turns = run(
        gpu,
        tmp_path,
        *("a-60-0/4/tf32", "b-0-0/4/tf32", "--jobs", "1", "--ready-limit", "4"),
        *("--seconds", "0.1"),
    )
    assert records[0]["error"] == "not ready after 4 s"
    assert [name for name, _, _ in turns] == ["b-0-0"]


def test_the_table_compares_with_the_fastest_and_names_what_failed(gpu, tmp_path):
    records, _ = run(gpu, tmp_path, "a-0-0/4/tf32", "--seconds", "0.1")
    records.insert(0, records[0] | {"ms": 9.0, "per_second": 111.0})  # so far
    records.append(gpu.named("z/1/bf16") | {"skipped": "no time was left"})
    rows = gpu.table(records).splitlines()
    assert [cell.strip() for cell in rows[2].split("|")[1:-1]] == [
        *("a-0-0/4/tf32", "500", "166.67", "200", "", "", "**2.50**"),
        *("100 / 100", "1.00 / 1.00"),
    ]
    assert rows[4:] == [
        "- a-0-0/4/tf32 compile: Broken: by us",
        "- z/1/bf16 : no time was left",
    ]


def test_losses_that_differ_are_said(gpu):
    fields = dict(ms=1.0, per_second=4.0, peak_mib=1.0, host_ms=1.0)
    ours = gpu.named("a/4/tf32") | fields | {"who": "ours", "first_loss": 2.0}
    theirs = ours | {"who": "eager", "first_loss": 2.2}
    assert "the first loss is 2 here and 2.2 in PyTorch" in gpu.table([ours, theirs])
    assert "first loss" not in gpu.table([ours, theirs | {"first_loss": 2.05}])
    assert gpu.differ(float("nan"), 2.0)


@pytest.mark.parametrize("batch, graphs", [(8, True), (32, False)])
def test_graphs_of_pytorch_are_for_small_batches(gpu, batch, graphs):
    options = gpu.read_arguments(["resnet50/32/tf32"])
    assert ("reduce_overhead" in gpu.who(batch, options)) == graphs


def test_a_name_without_batch_is_refused(gpu, capsys):
    with pytest.raises(SystemExit):
        gpu.read_arguments(["resnet50/tf32"])
    assert "'resnet50/tf32' is not NET/BATCH/PRECISION" in capsys.readouterr().err
