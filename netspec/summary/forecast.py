"""How much memory a net will take, by purpose, before any of it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec.graph import Graph, build_kept, share_gradients, share_private
from netspec.graph.concatenated import usual
from netspec.graph.dividing import (
    Parts,
    batches_of,
    check_divides,
    divisors,
    refuse_layers,
    refuse_meetings,
    summed,
)
from netspec.graph.dropping import Facts
from netspec.graph.memory import FLOAT_BYTES, Request, lay_out, requests_of
from netspec.graph.recompute import LimitError, Recomputation, recompute, too_small
from netspec.nets.filter import KeptNet
from netspec.ops.base import count
from netspec.ops.convolution import Convolution, Deconvolution

HISTORY = 1  # arrays of the solver for each parameter: those of SGD with momentum
TILES = 64  # of Winograd's algorithm, from which its gradients pay
TILE_VALUES = 5 * 2**19  # that threads have at once, at most


def forecast(
    graph: Graph,
    *,
    training: bool,
    optimizer_history: int = 1,
    itemsize: int = FLOAT_BYTES,
    found: Recomputation | None = None,
) -> dict[str, int]:
    """Return how many bytes `graph` will take, by purpose.

    `activations` and `gradients` are what all blobs take without sharing memory over
    time, `arena` is the block that they take with it; `total` counts the latter,
    `total_keep_all` the former. optimizer_history: arrays of the solver for each
    parameter (SGD with momentum 1, Adam 2). `saved` is what layers keep for their
    gradients beside blobs, such as masks; it lies in the arena too. `workspace` is what
    the layer that needs most has while it runs: the weights of a convolution in the
    form that is multiplied and, in training, parts of its blobs. found: what is
    computed again in training; see `within`.
    """
    parameters = sum(count(p.shape) for p in graph.parameters) * itemsize
    saved = _saved_requests(graph, itemsize) if training else []
    every = requests_of(graph, training=training, itemsize=itemsize)
    sizes = {"data": 0, "diff": 0, "saved": 0}
    for request in (*every, *saved):
        sizes[request.name.partition(":")[0]] += request.nbytes
    shared = share_gradients(share_private(graph, ()), ())
    touched = () if training else tuple(usual(shared).touched())
    needed = requests_of(
        shared, training=training, keep=(), itemsize=itemsize, touched=touched
    )
    fixed = parameters * (2 + optimizer_history) if training else parameters
    workspace = _workspace(graph, training=training) * itemsize
    fixed += workspace
    arena = lay_out([*needed, *saved]).total_bytes
    if found is not None:
        arena = found.total_bytes
    return {
        "parameters": parameters,
        "parameter_gradients": parameters if training else 0,
        "solver_state": parameters * optimizer_history if training else 0,
        "activations": sizes["data"],
        "gradients": sizes["diff"],
        "saved": sizes["saved"],
        "arena": arena,
        "workspace": workspace,
        "total": fixed + arena,
        "total_keep_all": fixed + sum(sizes.values()),
    }


def within(graph: Graph, memory_limit: int, optimizer_history: int) -> Recomputation:
    """Choose what is computed again so that training takes at most `memory_limit`.

    Raises `SpecError` that tells the least where that is above the limit.
    """

    def facts(one: Graph) -> Facts:
        sizes = {
            node.index: node.op.saved_bytes(FLOAT_BYTES)
            for node in one.nodes
            if node.backward
        }
        return Facts({index: {"": size} for index, size in sizes.items() if size})

    memory = forecast(graph, training=True, optimizer_history=optimizer_history)
    fixed = memory["total"] - memory["arena"]
    shared = share_gradients(share_private(graph, ()), ())
    found = recompute(shared, (), facts, memory_limit - fixed)
    least = fixed + found.total_bytes
    if least > memory_limit:
        raise too_small(graph, memory_limit, least, found)
    return found


def divided(
    kept: KeptNet,
    graph: Graph,
    shapes: Mapping[str, Sequence[int]],
    parts: Parts,
    memory_limit: int | None,
) -> tuple[int, Graph]:
    """Return the number of parts of a batch, and the graph of one.

    graph: that of whole batches, with these `shapes` given. "auto" takes the smallest
    number with which the limit can be met.

    Raises `UnsupportedError` that names a layer in which items meet, `SpecError` for a
    number of parts, or a limit, that cannot be.
    """
    sources = [n for n in graph.nodes if n.op.is_source or n.type == "Input"]
    fed = {top for node in sources for top in node.layer.top}
    refuse_layers(kept.message, fed)
    batches = batches_of(graph)
    refuse_meetings(graph)
    summed(graph)

    def part(k: int) -> Graph:
        own = {
            top: (shape[0] // k, *shape[1:])
            for node in sources
            for top, shape in zip(node.layer.top, node.op.tops, strict=True)
        }
        return build_kept(kept, shapes={**shapes, **own}, opaque=True)

    if parts != "auto":
        for node in sources:
            check_divides(node.layer, batches[node.name], parts)
        return parts, part(parts)
    missed: list[LimitError] = []
    for k in divisors(batches.values()):
        one = part(k)
        try:
            within(one, memory_limit or 0, HISTORY)
        except LimitError as error:
            missed.append(error)
            continue
        return k, one
    raise min(missed, key=lambda error: error.least)


def _workspace(graph: Graph, *, training: bool) -> int:
    """Return the most values that a convolution has beside its blobs while it runs.

    This mirrors the scratch of the CPU backend's convolutions, the largest there is:
    `runtime.backends.cpu.correlation`. `winograd` keeps (kernel + 3)^2 values for every
    kernel of 3 x 3 or 5 x 5 that moves by one place, as its tiles have 4 x 4 results,
    where there are enough tiles; `direct` as many as the parameter. In training threads
    have tiles of the image beside. It is a guess: the backend takes the way that it
    expects to be faster, so that a layer may need less than is said here. Other
    backends have no such arrays.
    """
    most = 0
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Convolution | Deconvolution):
            continue
        size, kernel = count(op.params[0].shape), op.kernel
        steps = {*op.stride, *op.dilation}
        if kernel in {(3, 3), (5, 5)} and steps == {1}:
            rows, columns = (-(-axis // 4) for axis in op.tops[0][-2:])
            if not training or op.tops[0][0] * rows * columns >= TILES:
                size = size * (kernel[0] + 3) ** 2 // kernel[0] ** 2
        if training:
            blobs = count(op.bottoms[0]) + count(op.tops[0])
            size += min(TILE_VALUES, 2 * blobs)
        most = max(most, size)
    return most


def _saved_requests(graph: Graph, itemsize: int) -> list[Request]:
    end = 2 * len(graph.nodes) - 1
    return [
        Request(
            f"saved:{node.index}",
            node.op.saved_bytes(itemsize),
            node.index,
            end - node.index,
        )
        for node in graph.nodes
        if node.backward and node.op.saved_bytes(itemsize)
    ]
