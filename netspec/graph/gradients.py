"""Which gradients are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.errors import SpecError
from netspec.graph.wiring import Wires
from netspec.ops.base import Op, bottom_name, label


@dataclass(frozen=True)
class Gradients:
    """For every node: whether it runs backward, and for which bottoms and parameters.

    `errors` lists the bottoms that would need a gradient which the layer cannot give.
    """

    backward: list[bool]
    propagate: list[tuple[bool, ...]]
    learn: list[tuple[bool, ...]]
    errors: tuple[SpecError, ...]


def analyse(
    ops: Sequence[Op],
    wires: Wires,
    loss_weights: Sequence[tuple[float, ...]],
    force: bool,
) -> Gradients:
    """Decide which gradients are computed, by Caffe's rules.

    A layer runs backward if it lies under a loss and something at or below it can
    learn; `propagate_down` overrides what a layer says of its bottoms. With `force`
    (the net's `force_backward`) everything runs, labels and the like excepted.
    """
    layer_needs, bottom_needs = _needs_from_below(ops, wires)
    _prune_from_above(ops, wires, loss_weights, layer_needs, bottom_needs)
    errors = []
    backward, propagate, learn = [], [], []
    for index, op in enumerate(ops):
        possible = op.gradient_bottoms
        mine = tuple(
            (need or force) and (possible is None or place in possible)
            for place, need in enumerate(bottom_needs[index])
        )
        for place in op.refused_bottoms:
            if place < len(mine) and bottom_needs[index][place]:
                errors.append(_no_gradient(op, place))
        runs = (layer_needs[index] or force) and not op.is_source
        learned = tuple(runs and flag for flag in _learned(op, force))
        propagate.append(mine if runs else (False,) * len(mine))
        learn.append(learned)
        backward.append(runs and (any(mine) or any(learned)))
    return Gradients(backward, propagate, learn, tuple(errors))


def nothing(ops: Sequence[Op]) -> Gradients:
    """Return that no gradient is computed."""
    return Gradients(
        [False] * len(ops),
        [(False,) * len(op.bottoms) for op in ops],
        [(False,) * len(op.params) for op in ops],
        (),
    )


def _needs_from_below(
    ops: Sequence[Op], wires: Wires
) -> tuple[list[bool], list[list[bool]]]:
    """Follow what can learn from the first layer to the last."""
    needing: set[str] = set()  # blobs with something to learn at or below them
    layer_needs, bottom_needs = [], []
    for index, op in enumerate(ops):
        blobs = [wires.names[edge] for edge in wires.bottoms[index]]
        mine = [blob in needing for blob in blobs]
        # A statistic without a param block counts here, though it is not learned.
        specs = [spec.lr_mult != 0 for spec in op.layer.param]
        specs += [True] * (len(op.params) - len(specs))
        needs = any(mine) or any(specs)
        if len(op.layer.propagate_down):
            mine = list(op.layer.propagate_down)
        else:
            unasked = op.unasked_bottoms
            mine = [need and place not in unasked for place, need in enumerate(mine)]
        layer_needs.append(needs)
        bottom_needs.append(mine)
        if needs:
            needing.update(wires.names[edge] for edge in wires.tops[index])
    return layer_needs, bottom_needs


def _prune_from_above(
    ops: Sequence[Op],
    wires: Wires,
    loss_weights: Sequence[tuple[float, ...]],
    layer_needs: list[bool],
    bottom_needs: list[list[bool]],
) -> None:
    """Clear the needs of what lies under no loss, or only under cut paths."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for index in range(len(ops) - 1, -1, -1):
        tops = [wires.names[edge] for edge in wires.tops[index]]
        bottoms = [wires.names[edge] for edge in wires.bottoms[index]]
        contributes = any(loss_weights[index]) or any(t in under_loss for t in tops)
        if layer_needs[index] and all(top in skipped for top in tops):
            layer_needs[index] = False
            bottom_needs[index] = [False] * len(bottoms)
        if contributes:
            under_loss.update(bottoms)
        else:
            layer_needs[index] = False
            bottom_needs[index] = [False] * len(bottoms)
        for blob, need in zip(bottoms, bottom_needs[index], strict=True):
            if not need:
                skipped.add(blob)


def _learned(op: Op, force: bool) -> list[bool]:
    flags = []
    for slot in range(len(op.params)):
        frozen = slot < len(op.layer.param) and op.layer.param[slot].lr_mult == 0
        possible = op.learned_params is None or slot in op.learned_params
        flags.append(possible and (force or not frozen))
    return flags


def _no_gradient(op: Op, place: int) -> SpecError:
    return SpecError(
        f"{bottom_name(op.layer, place)} depends on learned parameters and lies under "
        f"a loss, but the layer has no gradient for it; set propagate_down to false "
        f"for it, lr_mult to 0 below it, or loss_weight to 0 above it",
        layer=label(op.layer),
    )
