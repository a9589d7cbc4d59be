import numpy as np
import pytest

import runtime
from runtime.__main__ import main
from runtime.training.logs import CSV_HEADER
from tests.runtime.cli.command_line import fail
from tests.runtime.fitting.common import arrays, spec

MODEL = """
from netspec import NetSpec, layers as L

def small(outputs=4):
    n = NetSpec("small")
    n.data, n.label = L.Input(shape=[16, 1, 6, 6]), L.Input(shape=[16])
    n.conv = L.Convolution(n.data, num_output=outputs, kernel_size=3,
                           weight_filler="xavier")
    n.score = L.InnerProduct(n.conv, num_output=2, weight_filler="xavier")
    n.accuracy = L.Accuracy(n.score, n.label, include="TEST")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = arrays()
    np.savez("train.npz", data=x, label=y)
    np.savez("test.npz", data=x[:30], label=y[:30])
    (tmp_path / "net.prototxt").write_text(str(spec().to_proto()))
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def rows(path):
    header, *lines = path.read_text().splitlines()
    assert header == CSV_HEADER
    return [tuple(line.split(",")) for line in lines]


def test_a_net_is_trained_tested_and_written(folder, capsys):
    arguments = "fit net.prototxt --data train.npz --validation test.npz --epochs 2"
    solver = "--type Adam --base-lr 0.01 --snapshot 1 --out run --seed 3"
    assert main([*arguments.split(), *solver.split()]) == 0
    told = capsys.readouterr().out
    assert "training small: " in told
    assert "iteration 0 to 14" in told
    assert "test at iteration 7: accuracy" in told
    assert "trained 14 iterations" in told
    names = {path.name for path in (folder / "run").iterdir()}
    states = {f"small_iter_{n}.solverstate" for n in (7, 14)}
    assert states | {"log.csv", "small_iter_14.caffemodel"} <= names
    x, y = arrays()
    history = runtime.fit(
        spec(),
        (x, y),
        epochs=2,
        validation=(x[:30], y[:30]),
        solver=dict(type="Adam", base_lr=0.01),
        seed=3,
        progress=False,
    )
    logged = [float(row[3]) for row in rows(folder / "run/log.csv") if row[2] == "loss"]
    both = [r.loss for r in history.train] + [
        t.scalars()["loss"] for t in history.tests
    ]
    assert sorted(logged) == pytest.approx(sorted(both), rel=1e-6)


def test_a_run_goes_on_from_the_last_snapshot(folder, capsys):
    words = ["fit", "net.prototxt", "--data", "train.npz", "--validation", "0.2"]
    words += ["--out", "run"]
    assert main([*words, "--epochs", "4"]) == 0
    straight = rows(folder / "run/log.csv")
    for path in (folder / "run").iterdir():
        path.unlink()
    assert main([*words, "--epochs", "2"]) == 0
    assert main([*words, "--epochs", "4", "--resume", "last"]) == 0
    again = [row for row in rows(folder / "run/log.csv") if row[2] != "seconds"]
    assert set(again) == {row for row in straight if row[2] != "seconds"}
    assert "iteration 10 to 20" in capsys.readouterr().out


def test_fields_of_the_solver_and_parameters_of_a_model_file(folder, capsys):
    words = ["fit", "model.py", "--data", "train.npz", "--no-progress", "--max-iter"]
    words += ["3", "--out", "run"]
    more = (
        "--set outputs=3 --set stepvalue=1,2 --set lr_policy=multistep --set gamma=.5"
    )
    assert main([*words, *more.split(), "--batch-size", "10"]) == 0
    assert "128 parameters, SGD" in capsys.readouterr().out
    rates = [row[3] for row in rows(folder / "run/log.csv") if row[2] == "lr"]
    assert rates == ["0.01", "0.005", "0.0025"]


def test_a_solver_file_says_how(folder, capsys):
    (folder / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.25 lr_policy: "fixed" max_iter: 2'
    )
    words = "fit net.prototxt --data train.npz --solver solver.prototxt --log log.csv"
    assert main(words.split()) == 0
    assert [r[3] for r in rows(folder / "log.csv") if r[2] == "lr"] == ["0.25"] * 2
    assert main([*words.split(), "--base-lr", "0.5", "--max-iter", "1"]) == 0
    assert [r[3] for r in rows(folder / "log.csv") if r[2] == "lr"] == ["0.5"]


def test_transforms_and_order(folder, capsys):
    words = ["fit", "net.prototxt", "--data", "train.npz", "--max-iter", "1"]
    words += ["--log", "log.csv"]

    def loss(*more):
        assert main([*words, *more]) == 0
        return next(row[3] for row in rows(folder / "log.csv") if row[2] == "loss")

    assert len({loss(), loss("--no-shuffle"), loss("--transform", "scale=2")}) == 3
    assert loss("--transform", "scale: 2") == loss("--transform", "scale=2")
    x, y = arrays()
    np.save("x.npy", x)
    np.save("y.npy", y)
    words[words.index("train.npz")] = "x.npy"
    words.insert(words.index("x.npy") + 1, "y.npy")
    several = loss()
    words[words.index("x.npy") : words.index("y.npy") + 1] = ["train.npz"]
    assert several == loss()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--data nowhere.npz", "nowhere.npz: there is no such file"),
        ("", "no data are given, and the net has the inputs data, label"),
        ("--data train.npz --validation 2", "validation is 2.0; as a number"),
        ("--data train.npz --snapshot 1", "snapshot is given, but no folder"),
        ("--data train.npz --resume last", "resume is 'last', but there is no folder"),
        (
            "--data train.npz --set base_rl=1",
            "--set can be given for a model file only",
        ),
        ("--data train.npz --set gamma", "--set: expected FIELD=VALUE, got 'gamma'"),
        (
            "--data train.npz --transform crop=3",
            "crop is no field of TransformationParameter",
        ),
        ("--data train.npz --type Adma", "did you mean 'Adam'"),
        ("--data train.npz --out net.prototxt", "cannot be made a folder"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, words, said):
    assert said in fail(capsys, "fit", "net.prototxt", *words.split())


def test_batches_are_divided(folder, capsys):
    words = ["fit", "net.prototxt", "--data", "train.npz", "--no-progress"]
    assert main([*words, "--micro-batch", "2"]) == 0
    assert "micro_batch: 2 parts of a batch" in capsys.readouterr().out
    assert "needs a memory_limit" in fail(capsys, *words, "--micro-batch", "auto")
