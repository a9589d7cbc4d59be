"""A set of drawn shapes, and a small SSD that learns to find them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.commands.model_files import load_model
from netspec.schema import SolverParameter
from tools import draw_shapes

pytest.importorskip("lmdb")
ROOT = Path(__file__).resolve().parents[2]


def test_shapes_fill_their_boxes() -> None:
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(20):
        image, shapes = draw_shapes.draw(rng)
        assert image.shape == (3, 64, 64)
        for kind, (left, top, right, bottom) in shapes:
            seen.add(kind)
            part = image[:, top:bottom, left:right].astype(float)
            inside = part[:, draw_shapes._mask(kind, right - left)]
            assert inside.std(axis=1).max() < 2 * draw_shapes.NOISE
    assert seen == {1, 2, 3}


def test_the_same_seed_draws_the_same() -> None:
    one, other = (list(draw_shapes.records(3, 7)) for _ in range(2))
    assert one == other
    assert one != list(draw_shapes.records(3, 8))


# Trained for a fraction of the time.
@pytest.mark.filterwarnings("ignore:.*this test uses means")
def test_a_small_ssd_learns_to_find_shapes(tmp_path: Path) -> None:
    draw_shapes.main([str(tmp_path), "--train", "300", "--test", "48"])
    net = load_model(
        str(ROOT / "models" / "ssd_shapes.py"),
        batch_size=8,
        test_batch_size=16,
        source=str(tmp_path / "train_lmdb"),
        test_source=str(tmp_path / "test_lmdb"),
    )
    for layer in net.layer:
        if layer.type == "AnnotatedData":
            layer.annotated_data_param.label_map_file = str(
                tmp_path / "labelmap.prototxt"
            )
    solver = runtime.Solver(
        SolverParameter(
            net_param=net,
            test_iter=[3],
            test_interval=1000,
            base_lr=0.005,
            lr_policy="fixed",
            type="Adam",
            momentum=0.9,
            momentum2=0.999,
            max_iter=1000,
            eval_type="detection",
            random_seed=1,
            test_initialization=False,
        )
    )
    solver.step(150)
    losses = [record.loss for record in solver.history.train]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])
    (record,) = solver.test()
    # Boxes drawn at random overlap a shape by half, with its class, one time in dozens.
    assert record.scalars()["detection_eval"] > 0.1
