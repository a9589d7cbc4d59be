"""Records of a run, and the files they are written to."""

import json
import math

import numpy as np
import pytest

from netspec.errors import FileError
from runtime.training.history import History, Log, StepRecord, TestRecord


def history() -> History:
    steps = [
        StepRecord(0, 2.5, 2.5, 0.25, 0.125),
        StepRecord(1, math.nan, 1.5, 0.125, 0.0625),
    ]
    outputs = {'a,"b"': np.array(0.75), "prob": np.ones((3, 4)), "acc": np.array([0.5])}
    return History(steps, [TestRecord(1, 2, outputs, {"acc": 1.0})])


def test_csv_has_a_line_for_every_number(tmp_path):
    history().write(tmp_path / "log.csv")
    assert (tmp_path / "log.csv").read_text() == (
        "iteration,phase,name,value\n"
        "0,train,loss,2.5\n"
        "0,train,lr,0.25\n"
        "0,train,seconds,0.125\n"
        "1,train,loss,nan\n"
        "1,train,lr,0.125\n"
        "1,train,seconds,0.0625\n"
        '1,test2,"a,""b""",0.75\n'
        "1,test2,acc,0.5\n"
    )


def test_jsonl_has_an_object_for_every_record(tmp_path):
    history().write(tmp_path / "log.jsonl")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"iteration": 0, "phase": "train", "loss": 2.5, "lr": 0.25, "seconds": 0.125},
        {
            "iteration": 1,
            "phase": "train",
            "loss": "nan",
            "lr": 0.125,
            "seconds": 0.0625,
        },
        {"iteration": 1, "phase": "test2", 'a,"b"': 0.75, "acc": 0.5},
    ]


def test_log_can_be_continued(tmp_path):
    path = tmp_path / "log.csv"
    first, second = history().train
    with Log(path) as log:
        log.add(first)
    with Log(path, append=True) as log:
        log.add(second)
    assert path.read_text().count("iteration,phase") == 1
    assert path.read_text().count("train,loss") == 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_log_that_is_continued_drops_what_comes_again(tmp_path, suffix):
    path = tmp_path / f"log.{suffix}"
    outputs = {'a,"b"\n7,c': np.array(0.75)}  # a name that looks like another line
    records = [
        StepRecord(0, 2.5, 2.5, 0.25, 0.125),
        TestRecord(0, 0, outputs, {}),
        StepRecord(1, 1.5, 2.0, 0.25, 0.125),
        StepRecord(2, 1.25, 2.0, 0.25, 0.125),
        TestRecord(2, 0, outputs, {}),
        StepRecord(11, 0.5, 2.0, 0.25, 0.125),
    ]
    with Log(path) as log:
        for record in records[:3]:
            log.add(record)
    kept = path.read_bytes()
    with Log(path, append=True) as log:
        for record in records[3:]:
            log.add(record)
    whole = path.read_bytes()
    path.write_bytes(whole + b"12,tr")  # cut short by a kill
    with Log(path, append=True, since=2) as log:
        assert path.read_bytes() == kept
        for record in records[3:]:
            log.add(record)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_lines_that_are_no_records_stay(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"# seed 7\n\xff\niteration,phase,name,value\n3,train,lr,1\n")
    with Log(path, append=True, since=2):
        pass
    assert path.read_bytes() == b"# seed 7\n\xff\niteration,phase,name,value\n"


def test_nothing_is_dropped_from_a_log_that_does_not_reach_so_far(tmp_path):
    path = tmp_path / "log.csv"
    history().write(path)
    before = path.read_bytes()
    with Log(path, append=True, since=2):
        pass
    with Log(tmp_path / "new.csv", append=True, since=2):
        pass
    assert path.read_bytes() == before
    assert (tmp_path / "new.csv").read_text() == "iteration,phase,name,value\n"


def test_log_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FileError, match="/dev/full: cannot be written: No space left"):
        Log("/dev/full")
    with pytest.raises(FileError, match="lost/log.csv: cannot be written: No such"):
        Log(tmp_path / "lost" / "log.csv")


def test_log_on_a_disk_that_fills_up_is_an_error_at_that_record(tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    log = Log(tmp_path / "log.jsonl")
    with pytest.raises(FileError, match="log.jsonl: cannot be written: No space left"):
        log.add(history().train[0])
    log.close()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_that_is_no_log_is_not_replaced(tmp_path, suffix):
    path = tmp_path / f"results.{suffix}"
    path.write_text("name,mark\nAda,1\n")
    with pytest.raises(
        FileError, match=r"results\.\w+: holds something else than a lo"
    ):
        Log(path)
    assert path.read_text() == "name,mark\nAda,1\n"
    path.unlink()
    for _ in range(2):  # the second one replaces the first
        with Log(path) as log:
            log.add(StepRecord(0, 1.0, 1.0, 0.1, 0.0))
