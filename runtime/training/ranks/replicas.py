"""Whether all ranks train the same: before the first iteration, and on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from netspec.errors import MachineError, SpecError
from netspec.graph import Parameter
from netspec.ops.base import label
from netspec.schema import SolverParameter
from netspec.version import version
from runtime.arrays import Array
from runtime.distributed import Communicator
from runtime.execution.mirror import WRITING
from runtime.execution.net import Net
from runtime.training.ranks.running_statistics import remembered
from runtime.training.rule import Rule

# What may differ between ranks: where files lie, what is shown, on which device.
_OPEN = (
    *("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param"),
    *("snapshot_prefix", "weights", "display", "debug_info", "device_id"),
)
_OPTIONS = ("kernels", "precision")


class ReplicaError(MachineError):
    """The ranks of a job hold different values after the same iterations.

    `rank` is the first that differs from rank 0, `what` the first array that does.
    """

    def __init__(self, iteration: int, rank: int, what: str) -> None:
        super().__init__(
            f"after {iteration} iterations {what} has other values on rank {rank} than "
            f"on rank 0. All ranks add up the same gradients, so that either a program "
            f"changed parameters on some ranks only, or a processor, its memory or the "
            f"sums of the MPI library failed; resume from a snapshot"
        )
        self.iteration, self.rank, self.what = iteration, rank, what


def described(solver: Any) -> dict[str, str]:
    """Return what must be the same on all ranks of a solver, by what it is called."""
    param = SolverParameter()
    param.CopyFrom(solver.param)
    for field in _OPEN:
        param.ClearField(field)
    nets = {"net": solver.net}
    nets |= {f"test net {i}": net for i, net in enumerate(solver.test_nets)}
    return {
        "version of netspec": version(),
        "seed": str(solver.seed),
        **{name: str(solver.options[name]) for name in _OPTIONS},
        "backend": str(solver.options["backend"]).partition(":")[0],
        "sync_batch_norm": str(solver.net.context.ranks is not None),
        "dtype": str(solver.net.context.dtype),
        "micro_batch": str(solver.micro_batch),
        "check_replicas": str(solver.check_replicas),
        "iteration": str(solver.iter),
        "solver": str(param),
        **{name: net.text for name, net in nets.items()},
    }


class Replicas:
    """Compares what ranks hold.

    That are parameters and the history of the update rule. The statistics that a net
    counts as it runs, such as those of BatchNorm, are of a rank's own batches; they are
    compared before the first iteration only. every: after how many iterations, or 0.
    """

    def __init__(
        self, net: Net, communicator: Communicator, every: int, rule: Rule
    ) -> None:
        self._net, self._communicator, self._every = net, communicator, every
        self._rule = rule
        self._counted = remembered(net.graph)
        self.met = False  # since files were read last

    def meet(self, solver: Any) -> None:
        """Refuse ranks whose solver or whose parameters differ from those of rank 0.

        Raises `SpecError`, on all ranks.
        """
        mine = described(solver)
        self._compare_texts(mine)
        first = mine["iteration"] == "0"
        if differs := self._differing(statistics=first):
            rank, what = differs
            raise SpecError(
                f"rank {rank} begins with other values of {what} than rank 0; give all "
                f"ranks the same weights and snapshots, and seed"
            )
        self.met = True

    def _compare_texts(self, mine: Mapping[str, str]) -> None:
        gather = self._communicator.gather
        hashes = gather({name: _hash(text.encode()) for name, text in mine.items()})
        for rank, theirs in enumerate(hashes):
            for name in mine:
                if name not in theirs or name not in hashes[0]:
                    continue  # of another version, which is told first
                if theirs[name] != hashes[0][name]:
                    texts = gather(mine[name])
                    raise SpecError(_difference(name, rank, texts[0], texts[rank]))

    def check(self, iteration: int) -> None:
        """Compare, if that is due after so many iterations.

        Raises `ReplicaError`, on all ranks.
        """
        if self._every == 0 or iteration % self._every:
            return
        if differs := self._differing(statistics=False):
            raise ReplicaError(iteration, *differs)

    def _differing(self, *, statistics: bool) -> tuple[int, str] | None:
        """Return the first rank that differs from rank 0, and what is the first."""
        self._net.mirror.before_steps(WRITING)
        whole = hashlib.blake2b(digest_size=16)
        for _, array in self._arrays(statistics=statistics):
            whole.update(self._on_host(array).data)
        told = self._communicator.gather(whole.hexdigest())
        rank = next((r for r, one in enumerate(told) if one != told[0]), None)
        if rank is None:
            return None
        pairs = list(self._arrays(statistics=statistics))
        hashes = [_hash(self._on_host(array)) for _, array in pairs]
        theirs = self._communicator.gather(hashes)
        differing = zip(pairs, theirs[0], theirs[rank], strict=True)
        names = [name for (name, _), one, other in differing if one != other]
        return rank, names[0] if names else "something"

    def _arrays(self, *, statistics: bool) -> Iterator[tuple[str, Array]]:
        """Yield what ranks must have in common, and what it is called."""
        net, flat = self._net, self._net.parameters.flat
        places = []
        for parameter in net.graph.parameters:
            place = flat.slices.get(parameter.index)
            if place is None or not (statistics or self._is_common(parameter)):
                continue
            node = net.graph.nodes[parameter.owner.node]
            slot = parameter.owner.slot
            places.append((f"parameter {slot} of {label(node.layer)}", place))
        for name, place in places:
            yield name, flat.data[place]
        for array in self._rule.update.history:
            for name, place in places:
                yield f"the history of {name}", array[place]

    def _is_common(self, parameter: Parameter) -> bool:
        if parameter.learn:
            return True
        # A layer in Python may count whatever it likes in what is not learned.
        kind = self._net.graph.nodes[parameter.owner.node].type
        return parameter.index not in self._counted and kind != "Python"

    def _on_host(self, array: Array) -> np.ndarray:
        if self._net.backend.on_host:
            return np.ascontiguousarray(array)
        host = np.empty(array.shape, str(array.dtype))
        self._net.backend.download(array, out=host)
        return host


def _hash(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _difference(name: str, rank: int, first: str, other: str) -> str:
    """Say what two ranks differ in, with both values."""
    if "\n" not in first and "\n" not in other:
        where, one, two = "", first, other
    else:
        lines = zip_longest(first.splitlines(), other.splitlines())
        number, (one, two) = next(
            (n, pair) for n, pair in enumerate(lines, 1) if pair[0] != pair[1]
        )
        where = f", line {number}"
        one, two = ("nothing" if text is None else text.strip() for text in (one, two))
    return (
        f"rank {rank} cannot train together with rank 0: {name}{where} is {two!r} on "
        f"rank {rank}, and {one!r} on rank 0; start all ranks with the same files, "
        f"options and version"
    )
