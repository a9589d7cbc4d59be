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
