"""Compares ranks that train real nets with one process: rounding, and bits.

    python -m tests.distributed.compare_nets [--ranks 2 4] [--only NAME ...]

LeNet with all six rules, and a net of CIFAR-10 with dropout, random crops and mirrors
from LMDB, and the siamese net, whose parameters are shared. For each net it prints how
far parameters are from those of one process with so many times the `iter_size`, after
1 iteration and after all, in parts of the largest one. It fails unless all ranks have
the same bits after every iteration, twice, and those of a process that adds gradients
in the order of ranks: what is left of the distance is rounding, which training makes
larger. Beside it stands that of one process without MPI that adds in another order.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.models import lenet, mnist_siamese
from runtime.data.convert import Images, digits, pairs, write
from tests.distributed.cases import Case, case, solver_of, train
from tests.distributed.in_order import InOrder
from tests.distributed.launching import launch, told
from tests.distributed.telling import tell

RULES = {
    "SGD": {"base_lr": 0.01, "weight_decay": 0.0005},
    "Nesterov": {"base_lr": 0.01},
    # With a small delta the first step is the sign of a gradient, also of one that is
    # rounding only.
    "AdaGrad": {"base_lr": 0.01, "delta": 0.01},
    "RMSProp": {"base_lr": 0.001, "rms_decay": 0.98, "delta": 0.01},
    "AdaDelta": {"base_lr": 1.0, "delta": 1e-6},
    "Adam": {"base_lr": 0.001},
}


def cases(folder: Path) -> dict[str, Case]:
    """Return what is compared; `prepare` has written the data."""
    found = {
        f"LeNet, {rule}": case(
            str(lenet.lenet(source=str(folder / "digits_lmdb")).to_proto()),
            rule,
            **options,
        )
        for rule, options in RULES.items()
    }
    found["CIFAR-10 full"] = case(cifar(folder), base_lr=0.001, weight_decay=0.004)
    siamese = mnist_siamese.mnist_siamese(source=str(folder / "pairs_lmdb")).to_proto()
    for layer in siamese.layer:
        if layer.type == "Data":
            layer.data_param.backend = layer.data_param.LMDB
    found["siamese"] = case(str(siamese), base_lr=0.01)
    return found


def cifar(folder: Path) -> str:
    """Return the net of CIFAR-10 with crops, mirrors and dropout."""
    from netspec.models import cifar10_full

    n = NetSpec("CIFAR10_full")
    n.data, n.label = L.Data(
        source=str(folder / "pictures_lmdb"),
        batch_size=50,
        backend="LMDB",
        transform_param=dict(crop_size=32, mirror=True, mean_value=[120]),
        ntop=2,
    )
    cifar10_full.classify(n, 10, fillers=True)
    text = str(n.to_proto())
    drop = 'layer { name: "drop" type: "Dropout" bottom: "pool3" top: "pool3" }\n'
    at = text.index('layer {\n  name: "ip1"')
    loss = (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" }'
    )
    return text[:at] + drop + text[at:] + loss


def prepare(folder: Path) -> None:
    """Write the databases."""
    train_images, _ = digits()
    write(train_images, folder / "digits", "lmdb")
    write(pairs(train_images), folder / "pairs", "lmdb")
    random = np.random.default_rng(1)
    rough = random.integers(0, 256, (10, 3, 5, 5)).astype(np.float64)
    labels = random.integers(0, 10, 700)
    smooth = np.kron(rough[labels], np.ones((8, 8)))
    noisy = np.clip(smooth + random.normal(0, 30, smooth.shape), 0, 255)
    write(Images(noisy.astype(np.uint8), labels), folder / "pictures", "lmdb")


def work(folder: Path, iterations: int, names: list[str]) -> None:
    """Train on this rank."""
    world = runtime.distributed.world()
    found = {}
    for name in names:
        one = cases(folder)[name]
        solver = solver_of(one, communicator=world, check_replicas=1)
        found[name] = train(solver, iterations)
        again = solver_of(one, communicator=world)
        found[name]["again"] = train(again, iterations)["hashes"]
    tell(world, found)


class Backwards(InOrder):
    """One process that adds the gradients of ranks one by one, the last ones first."""

    @staticmethod
    def total(parts: list[np.ndarray]) -> np.ndarray:
        """Return the sum."""
        total = parts[-1]
        for part in reversed(parts[:-1]):
            total = total + part
        return total


def compare(folder: Path, ranks: int, iterations: int, names: list[str]) -> bool:
    """Train with so many ranks and with one process; print what came, and if well."""
    me = ["-m", "tests.distributed.compare_nets", "--work", str(folder)]
    me += ["--iterations", str(iterations), "--only", *names]
    ended = launch(ranks, me, limit_s=3600)
    if ended.status:
        print(ended.all)
        return False
    well = True
    for name in names:
        several = [one[name] for one in told(ended)]
        first = several[0]
        ordered = solver_of(cases(folder)[name], ranks=ranks)
        InOrder.of(ordered, ranks)
        in_order = train(ordered, iterations)
        alone = train(solver_of(cases(folder)[name], ranks=ranks), iterations)
        others = solver_of(cases(folder)[name], ranks=ranks)
        Backwards.of(others, ranks)
        backwards = train(others, iterations)
        bits = {
            "ranks": all(one == first for one in several),
            "runs": first["again"] == first["hashes"],
            "order": in_order["hashes"] == first["hashes"],
        }
        far, other = (
            [distance(run, alone, after) for after in (1, iterations)]
            for run in (first, backwards)
        )
        loss = max(
            abs(a / b - 1)
            for a, b in zip(first["losses"], alone["losses"], strict=True)
        )
        well &= all(bits.values())
        print(
            f"{ranks} ranks, {name:15s} {far[0]:8.1e} after 1, {far[1]:8.1e} after "
            f"{iterations}, another order {other[0]:8.1e}, {other[1]:8.1e}; losses "
            f"{loss:8.1e}; bits "
            f"{', '.join(f'{k} {v}' for k, v in bits.items())}",
            flush=True,
        )
    return well


def distance(one: dict[str, Any], other: dict[str, Any], after: int) -> float:
    """Return the largest difference of a parameter, in parts of the largest value."""
    mine, theirs = (np.array(run["values"][str(after)]) for run in (one, other))
    return float(np.abs(mine - theirs).max() / np.abs(theirs).max())


def main() -> int:
    """Compare what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        work(given.work, given.iterations, given.only)
        return 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        prepare(folder)
        names = given.only or list(cases(folder))
        results = [compare(folder, n, given.iterations, names) for n in given.ranks]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
