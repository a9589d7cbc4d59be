"""On which device a rank trains, and how ranks add up arrays of their devices."""

from __future__ import annotations

import platform

from netspec.errors import SpecError
from runtime.backends import Backend, name_for_rank
from runtime.distributed import Communicator


def backend_of_rank(name: str, ranks: Communicator | None) -> str:
    """Return the name of the backend of this rank: of several GPUs, one for each rank.

    All ranks call it. Ranks of one machine, by its name, are counted; "cupy" is a GPU
    of that number, and a name with a number is kept.

    Raises `SpecError` for ranks that compute on other kinds of backends than rank 0.
    """
    if ranks is None:
        return name
    told = ranks.gather([platform.node(), str(name)])
    kinds = [one.partition(":")[0] for _, one in told]
    for rank, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise SpecError(
                f"rank {rank} has backend {kind!r}, and rank 0 {kinds[0]!r}; start all "
                f"with the same"
            )
    nodes = [node for node, _ in told]
    return name_for_rank(name, nodes[: ranks.rank].count(nodes[ranks.rank]))


def with_sums(ranks: Communicator | None, backend: Backend) -> Communicator | None:
    """Return ranks that can add up arrays of their backend. All of them call it."""
    if ranks is None or backend.on_host:
        return ranks
    from runtime.distributed.nccl import on_devices

    return on_devices(ranks, backend, backend.group)
