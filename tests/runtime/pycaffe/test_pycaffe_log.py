"""Solvers of scripts write Caffe's log: tools that read it find what they look for."""

import re

import pytest

import runtime.pycaffe as caffe
from runtime.training.showing import caffe_log
from tests.runtime.pycaffe.test_pycaffe import TRAINED, solver_text

HEAD = re.compile(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ solver\.cpp:\d+\] ")
LINES = [  # as Caffe's own tools/extra/parse_log.py looks for them
    ("train", re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)")),
    ("test", re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)")),
    (
        "rate",
        re.compile(r"Iteration (\d+), lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?\d+)?)"),
    ),
    (
        "loss",
        re.compile(r"Iteration (\d+) \(\S+ iter/s, \S+s/(\d+) iters\), loss = (.+)"),
    ),
]


def lines(capsys):
    said = capsys.readouterr()
    assert said.out == ""
    whole = said.err.splitlines()
    assert all(HEAD.match(line) for line in whole), whole
    return [HEAD.sub("", line) for line in whole]


def found(said, kind):
    expression = dict(LINES)[kind]
    return [match.groups() for match in map(expression.search, said) if match]


def test_solve_writes_what_parsers_look_for(tmp_path, capsys):
    path = solver_text(tmp_path, display=3, average_loss=2, snapshot=5)
    solver = caffe.SGDSolver(path)
    assert lines(capsys) == []
    history = solver.solve()
    said = lines(capsys)
    assert said[:2] == ["Solving ", "Learning Rate Policy: fixed"]
    assert said[-1] == "Optimization Done."
    losses = [record.smoothed_loss for record in history.train]
    assert [int(i) for i, _, _ in found(said, "loss")] == [0, 3, 6]
    assert [int(count) for _, count, _ in found(said, "loss")] == [1, 3, 3]
    shown = [float(loss) for _, _, loss in found(said, "loss")]
    assert shown == pytest.approx([losses[i] for i in (0, 3, 6)], rel=1e-5)
    outputs = found(said, "train")
    assert [name for _, name, _ in outputs] == ["loss"] * 3
    exact = [history.train[i].loss for i in (0, 3, 6)]
    assert [float(x) for _, _, x in outputs] == pytest.approx(exact, rel=1e-5)
    assert "(* 1 = " in next(line for line in said if "Train net output" in line)
    assert [(i, lr) for i, lr, _ in found(said, "rate")] == [
        ("0", "0.1"),
        ("3", "0.1"),
        ("6", "0.1"),
    ]
    assert [line for line in said if "Testing" in line] == [
        f"Iteration {i}, Testing net (#0)" for i in (0, 4, 8)
    ]
    assert len(found(said, "test")) == 3
    assert f"Snapshotting to file {tmp_path / 'snap_iter_5.caffemodel'}" in said


def test_steps_write_too_and_display_0_shows_tests_only(tmp_path, capsys):
    caffe.SGDSolver(solver_text(tmp_path, display=2, test_interval=100)).step(5)
    assert [int(i) for i, _, _ in found(lines(capsys), "loss")] == [0, 2, 4]
    caffe.SGDSolver(solver_text(tmp_path)).step(5)
    said = lines(capsys)
    assert found(said, "loss") == found(said, "train") == found(said, "rate") == []
    assert len(found(said, "test")) == 2


def test_the_log_is_silent_where_glog_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "1")
    caffe.SGDSolver(solver_text(tmp_path, display=1)).solve()
    assert lines(capsys) == []


def test_the_whole_objective_of_a_test_is_told(tmp_path, capsys):
    path = solver_text(tmp_path, test_compute_loss="true")
    caffe.SGDSolver(path).step(1)
    said = lines(capsys)
    told = re.search(r"Test loss: (\S+)", "\n".join(said))[1]
    assert float(told) == pytest.approx(float(found(said, "test")[0][2]), rel=1e-5)


def test_large_outputs_are_told_by_their_mean(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(caffe_log, "MAX_VALUES", 2)
    text = TRAINED + 'layer { name: "p" type: "Power" bottom: "ip" top: "p" }'
    net = caffe.proto.caffe_pb2.SolverParameter(
        base_lr=0, lr_policy="fixed", display=1, net_param=as_message(text)
    )
    solver = caffe.get_solver(net)
    solver.step(1)
    said = [line for line in lines(capsys) if "net output" in line]
    mean = solver.net.blobs["p"].data.mean()
    assert len(said) == 2
    told = re.fullmatch(
        r"    Train net output #1: p = (\S+) \(mean of 12 values\)", said[1]
    )
    assert float(told[1]) == pytest.approx(mean, rel=1e-4)


def as_message(text):
    from netspec.text import as_net

    return as_net(text)
