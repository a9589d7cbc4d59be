"""Expressions of a function as LLVM's code; `translate` has the statements."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

from llvmlite import ir

from runtime.backends.cpu.machine.arithmetic import (
    SIGNS,
    UntranslatedError,
    Value,
    binary,
    cast,
    compared,
    constant,
    negative,
    truth,
)
from runtime.backends.cpu.machine.builtin import BUILTIN
from runtime.backends.cpu.machine.kinds import (
    Kind,
    Known,
    Pointer,
    Record,
    Several,
    several,
    types,
)
from runtime.backends.cpu.machine.llvm import declared
from runtime.backends.cpu.machine.parts import Function, Part

# Gives the code of a function for arguments of some types, and the type of its result.
Functions: TypeAlias = Callable[[Part, Sequence[Kind]], tuple[ir.Function, Kind]]

NOTHING = Value(types.void)
ELEMENTS = {"i8": types.int64, "f8": types.float64}  # of records


class _Context:
    """What generators of instructions are given."""

    @staticmethod
    def get_dummy_value() -> None:
        """Return what an instruction gives that gives nothing."""


CONTEXT = _Context()


def spread_out(value: Value) -> list[Any]:
    """Return LLVM's values that are passed for one."""
    if isinstance(value.kind, Several):
        return [one for item in value.raw for one in spread_out(item)]
    return [] if isinstance(value.kind, Known) else [value.raw]


class Expressions:
    """What the expressions of a function emit."""

    def __init__(self, function: Function, functions: Functions, builder: Any) -> None:
        self._function = function
        self._functions = functions
        self._builder = builder
        code = function.__code__
        self._local = {*code.co_varnames}
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        self._outer = {name: cell.cell_contents for name, cell in cells}
        self._places: dict[str, tuple[Kind, Any]] = {}  # variables
        self._values: dict[str, Value] = {}  # arguments that nothing is given to

    def value(self, node: ast.expr) -> Value:
        """Emit an expression."""
        method = self._emitters.get(type(node))
        if method is None:
            raise UntranslatedError(f"{type(node).__name__} in {ast.unparse(node)}")
        return method(self, node)

    def condition(self, node: ast.expr) -> Value:
        """Emit an expression as what decides."""
        if isinstance(node, ast.BoolOp):
            return self._decided(node)
        return truth(self._builder, self.value(node))

    # ------------------------------------------------------------ names

    def _named(self, node: ast.Name) -> Value:
        name = node.id
        if name in self._values:
            return self._values[name]
        if name in self._places:
            return self.read(*self._places[name])
        return self._known(self._meant(node))

    def _meant(self, node: ast.expr) -> Any:
        """Return what a name from outside of the function means, or one of a module."""
        if isinstance(node, ast.Attribute):
            owner = self._meant(node.value)
            if not hasattr(owner, node.attr):
                raise UntranslatedError(f"{ast.unparse(node)} is unknown")
            return getattr(owner, node.attr)
        if not isinstance(node, ast.Name):
            raise UntranslatedError(ast.unparse(node))
        name = node.id
        if name in self._values and isinstance(self._values[name].kind, Known):
            return self._values[name].kind.what  # type: ignore[attr-defined]
        if name in self._local:
            raise UntranslatedError(f"{name} has no value yet")
        for names in (self._outer, self._function.__globals__, vars(builtins)):
            if name in names:
                return names[name]
        raise UntranslatedError(f"{name} is unknown")

    def _known(self, thing: Any) -> Value:
        number = constant(thing)
        if number is not None:
            return number
        if isinstance(thing, Part):
            return Value(Known(thing.name, ir.VoidType(), what=thing))
        raise UntranslatedError(f"{thing!r} as a value")

    def read(self, kind: Kind, place: Any) -> Value:
        """Emit the reading of a variable."""
        if isinstance(kind, Several):
            pairs = zip(kind.items, place, strict=True)
            return Value(kind, tuple(self.read(*pair) for pair in pairs))
        if isinstance(kind, Known):
            return Value(kind)
        return Value(kind, self._builder.load(place))

    def _constant(self, node: ast.Constant) -> Value:
        return NOTHING if node.value is None else self._known(node.value)

    def _attribute(self, node: ast.Attribute) -> Value:
        if not self._is_value(node.value):
            return self._known(self._meant(node))
        record = self.value(node.value)
        if not isinstance(record.kind, Record):
            raise UntranslatedError(f"{record.kind} has no {node.attr}")
        fields: Any = record.kind.fields.fields or {}
        if node.attr not in fields:
            raise UntranslatedError(f"the record has no {node.attr}")
        found, offset = fields[node.attr][:2]
        kind = ELEMENTS[found.str[1:]]
        at = ir.Constant(types.int64.raw, offset)
        place = self._builder.gep(record.raw, [at])
        place = self._builder.bitcast(place, kind.raw.as_pointer())
        return Value(kind, self._builder.load(place))

    def _is_value(self, node: ast.expr) -> bool:
        return not isinstance(node, ast.Name) or node.id in self._local

    # ------------------------------------------------------------ tuples and memory

    def _tuple(self, node: ast.Tuple) -> Value:
        items = tuple(self.value(one) for one in node.elts)
        return Value(several(tuple(one.kind for one in items)), items)

    def _subscript(self, node: ast.Subscript) -> Value:
        base, index = self.value(node.value), self.value(node.slice)
        if isinstance(base.kind, Several) and index.number is not None:
            count = len(base.raw)
            if not -count <= index.number < count:
                raise UntranslatedError(f"item {index.number} of {base.kind}")
            item: Value = base.raw[index.number]
            return item
        kind, place = self._indexed(base, index)
        return Value(kind, self._builder.load(place))

    def element(self, node: ast.Subscript) -> tuple[Kind, Any]:
        """Emit the address of an element; returns its type too."""
        return self._indexed(self.value(node.value), self.value(node.slice))

    def _indexed(self, base: Value, index: Value) -> tuple[Kind, Any]:
        if not isinstance(base.kind, Pointer):
            raise UntranslatedError(f"an element of {base.kind}")
        at = cast(self._builder, index, types.int64)
        return base.kind.element, self._builder.gep(base.raw, [at.raw])

    # ------------------------------------------------------------ operators

    def _binary(self, node: ast.BinOp) -> Value:
        one, other = self.value(node.left), self.value(node.right)
        return binary(self._builder, type(node.op).__name__, one, other)

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            test = self.condition(node.operand)
            if test.number is not None:
                return self._known(not test.number)
            return Value(types.boolean, self._builder.not_(test.raw))
        if isinstance(node.op, ast.USub):
            return negative(self._builder, self.value(node.operand))
        raise UntranslatedError(ast.unparse(node))

    def _compare(self, node: ast.Compare) -> Value:
        first = self.value(node.left)

        def compare(index: int, one: Value) -> Value:
            other = self.value(node.comparators[index])
            sign = SIGNS.get(type(node.ops[index]).__name__)
            if sign is None:
                raise UntranslatedError(ast.unparse(node))
            found = compared(self._builder, sign, one, other)
            if index + 1 == len(node.ops):
                return found
            return self._if(found, lambda: compare(index + 1, other), lambda: found)

        return compare(0, first)

    def _logical(self, node: ast.BoolOp) -> Value:
        """Emit `and` or `or` as a value: in Python that is one of the operands."""
        return self._decided(node, as_value=True)

    def _decided(self, node: ast.BoolOp, *, as_value: bool = False) -> Value:
        """Emit `and` or `or` of conditions, the rest where the first leaves it open.

        as_value: they must be true or false, and are no numbers.
        """
        conjunction = isinstance(node.op, ast.And)

        def rest(index: int) -> Value:
            one = node.values[index]
            test = self.value(one) if as_value else self.condition(one)
            if test.kind != types.boolean and as_value:
                raise UntranslatedError(f"{test.kind} in {ast.unparse(node)}")
            if index + 1 == len(node.values):
                return test
            if conjunction:
                return self._if(test, lambda: rest(index + 1), lambda: test)
            return self._if(test, lambda: test, lambda: rest(index + 1))

        return rest(0)

    def _choice(self, node: ast.IfExp) -> Value:
        test = self.condition(node.test)
        return self._if(
            test, lambda: self.value(node.body), lambda: self.value(node.orelse)
        )

    def _if(
        self, test: Value, one: Callable[[], Value], other: Callable[[], Value]
    ) -> Value:
        """Emit the choice of two values, of which only that one is computed."""
        builder = self._builder
        if test.number is not None:
            return one() if test.number else other()
        then, orelse, after = [
            builder.append_basic_block(name) for name in ("one", "other", "chosen")
        ]
        builder.cbranch(test.raw, then, orelse)
        builder.position_at_end(then)
        first, first_end = one(), builder.block
        builder.position_at_end(orelse)
        second, second_end = other(), builder.block
        kind = first.kind
        if kind != second.kind or isinstance(kind, Several | Known):
            raise UntranslatedError(f"{kind} or {second.kind}")
        for block in (first_end, second_end):
            builder.position_at_end(block)
            builder.branch(after)
        builder.position_at_end(after)
        chosen = builder.phi(kind.raw)
        chosen.add_incoming(first.raw, first_end)
        chosen.add_incoming(second.raw, second_end)
        return Value(kind, chosen)

    # ------------------------------------------------------------ calls

    def _call(self, node: ast.Call) -> Value:
        if node.keywords:
            raise UntranslatedError(f"names of arguments in {ast.unparse(node)}")
        callee = self._meant(node.func)
        given: list[Value] = []
        for one in node.args:
            if isinstance(one, ast.Starred):
                given += self.value(one.value).raw
            else:
                given.append(self.value(one))
        if isinstance(callee, Part):
            return getattr(self, f"_call_{callee.sort}")(callee, given)  # type: ignore[no-any-return]
        try:
            return BUILTIN[callee](self._builder, *given)
        except (KeyError, TypeError):
            raise UntranslatedError(f"a call of {ast.unparse(node.func)}") from None

    def _call_carray(self, part: Part, given: Sequence[Value]) -> Value:
        """Return what has the record that an address is of as its element 0."""
        return Value(several((given[0].kind,)), (given[0],))

    def _call_intrinsic(self, part: Part, given: Sequence[Value]) -> Value:
        kinds = [one.kind for one in given]
        signature, generate = part.function(CONTEXT, *kinds)
        raw = self._passed(part, given, signature.args)
        result = generate(CONTEXT, self._builder, signature, raw)
        return Value(signature.return_type, result)

    def _passed(
        self, part: Part, given: Sequence[Value], takes: Sequence[Kind]
    ) -> list[Any]:
        if len(given) != len(takes):
            raise UntranslatedError(f"{part.name} takes {len(takes)} arguments")
        pairs = zip(given, takes, strict=True)
        return [cast(self._builder, one, kind).raw for one, kind in pairs]

    def _call_outside(self, part: Part, given: Sequence[Value]) -> Value:
        result, takes = part.signature.return_type, part.signature.args
        found = declared(
            self._builder, part.name, result.raw, [one.raw for one in takes]
        )
        raw = self._passed(part, given, takes)
        return Value(result, self._builder.call(found, raw))

    def _call_function(self, part: Part, given: Sequence[Value]) -> Value:
        kinds = [one.kind for one in given]
        made, result = self._functions(part, kinds)
        raw = [one for value in given for one in spread_out(value)]
        return self._unpacked(result, self._builder.call(made, raw))

    _call_helper = _call_outlined = _call_exact = _call_function

    def _unpacked(self, kind: Kind, raw: Any) -> Value:
        if isinstance(kind, Known):
            return Value(kind)
        if not isinstance(kind, Several):
            return Value(kind, raw)
        items = [
            self._unpacked(item, self._builder.extract_value(raw, index))
            for index, item in enumerate(kind.items)
        ]
        return Value(kind, tuple(items))

    _emitters: ClassVar[dict[type[ast.expr], Callable[..., Value]]] = {
        ast.Name: _named,
        ast.Constant: _constant,
        ast.Attribute: _attribute,
        ast.Tuple: _tuple,
        ast.Subscript: _subscript,
        ast.BinOp: _binary,
        ast.UnaryOp: _unary,
        ast.Compare: _compare,
        ast.BoolOp: _logical,
        ast.IfExp: _choice,
        ast.Call: _call,
    }
