"""How a solver looks: in a line, and as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netspec.schema import SolverParameter
from runtime.execution.net import Net
from runtime.execution.net_html import closed_net
from runtime.html import Markup, escaped, line, output, table
from runtime.training.history import History
from runtime.training.lr_policy import POLICY_FIELDS
from runtime.training.rule import Rule
from runtime.training.showing.page import tests_table

# Fields that the line above the table tells, that name nets, or that do nothing here.
_ELSEWHERE = ("type", "snapshot_diff", "debug_info", "solver_mode", "device_id")
# Fields that some policies read, beside those without which they cannot be.
_OPTIONAL = {"inv": ("power",), "poly": ("power", "min_lr")}
_OF_POLICIES = {
    "gamma",
    "power",
    *(field for fields in POLICY_FIELDS.values() for field in fields),
} - {"base_lr", "max_iter", "test_iter", "test_interval"}


class SolverLooks:
    """What a `Solver` says of itself."""

    param: SolverParameter
    net: Net
    test_nets: list[Net]
    seed: int
    _records: History
    _iteration: int
    _rule: Rule

    @property
    def history(self) -> History:
        """The records of all runs."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return (
            f"<Solver {self.param.type!r} of {self.net.name!r} at iteration "
            f"{self._iteration}>"
        )

    def _repr_html_(self) -> str:
        of = f"{self.param.type} of {self.net.name or 'net'}"
        where = f"{of} on {self.net.backend.name}, seed {self.seed}"
        state = {
            "iteration": f"{self._iteration:,}",
            "lr": f"{self._rule.rate(self._iteration):.4g}",
        }
        if train := self._records.train:
            state["loss"] = f"{train[-1].loss:.4g}"
            state["smoothed loss"] = f"{train[-1].smoothed_loss:.4g}"
        parts = [
            line(Markup(f"<b>{escaped(where)}</b>")),
            table(list(state), [list(state.values())], range(len(state))),
            table(("setting", "value"), list(acting(self.param))),
        ]
        if tests := self._records.tests:
            parts.append(tests_table(tests, len(self.test_nets) > 1))
        parts.append(closed_net(self.net, "the net that it trains"))
        for number, net in enumerate(self.test_nets):
            parts.append(closed_net(net, f"test net {number}"))
        return output(*parts)


def acting(param: SolverParameter) -> Iterator[tuple[str, str]]:
    """Yield the fields that a solver says and that act, with their values.

    Left out are nets, and fields of other policies of the rate than its own.
    """
    policy = param.lr_policy
    own = {*POLICY_FIELDS.get(policy, ()), *_OPTIONAL.get(policy, ())}
    for field, value in param.ListFields():
        name = field.name
        elsewhere = name in _ELSEWHERE or (name in _OF_POLICIES and name not in own)
        if elsewhere or "net" in name or name.endswith("_state"):
            continue
        yield name, _shown(field, value)


def _shown(field: Any, value: Any) -> str:
    if isinstance(value, str | bytes | int | float):
        return _word(field, value)
    return ", ".join(_word(field, one) for one in value)


def _word(field: Any, value: Any) -> str:
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
