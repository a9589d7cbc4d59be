"""How a solver looks: in a line, and as HTML in a notebook."""

from __future__ import annotations

from netspec.schema import SolverParameter
from runtime.execution.net import Net


class SolverLooks:
    """What a `Solver` says of itself."""

    param: SolverParameter
    net: Net
    test_nets: list[Net]

    @property
    def iter(self) -> int:
        """How many iterations are done."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return (
            f"<Solver {self.param.type!r} of {self.net.name!r} at iteration "
            f"{self.iter}>"
        )
