"""Python functions as LLVM's code.

A kernel is written in a small part of Python: numbers, addresses that are indexed,
tuples, `for` over a range, `while`, `if`, and calls of functions of this kind. One walk
over its syntax tree emits its instructions. Every variable has one type, that of what
it is first given; a function is emitted once for all calls with the same types.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from llvmlite.ir.values import ReturnValue

from runtime.backends.cpu.machine.arithmetic import (
    UntranslatedError,
    UntranslatedLineError,
    Value,
    binary,
    cast,
    whole,
)
from runtime.backends.cpu.machine.expressions import NOTHING, Expressions
from runtime.backends.cpu.machine.kinds import Kind, Known, Several, types
from runtime.backends.cpu.machine.parts import FAST_MATH, Function, Part
from runtime.backends.cpu.machine.sources import tree_of

FLAGS = sorted(FAST_MATH)
REAL = (ir.FloatType(), ir.DoubleType())
FLAGGED = {"fadd", "fsub", "fmul", "fdiv", "frem", "fcmp"}


class Module:
    """The functions of a kernel as they are emitted."""

    def __init__(self, name: str) -> None:
        self.module = ir.Module(name)
        self._made: dict[Any, tuple[ir.Function, Kind]] = {}
        self._begun: set[Any] = set()

    def entry(self, function: Function, kinds: Sequence[Kind], name: str) -> None:
        """Emit a function that others call by a name, and that returns nothing."""
        raw = [one.raw for one in kinds]
        made = ir.Function(self.module, ir.FunctionType(ir.VoidType(), raw), name)
        _Body(self, function, made, kinds).emit(fast=True)

    def function(self, part: Part, kinds: Sequence[Kind]) -> tuple[ir.Function, Kind]:
        """Return the code of a function for arguments of these types, and its result's.

        What it returns is known once its body is emitted, which a body of its own does.
        """
        key = (part.function, *kinds)
        if key not in self._made:
            if key in self._begun:
                raise UntranslatedError(f"{part.name} calls itself")
            self._begun.add(key)
            name = f"{part.function.__module__}.{part.function.__name__}"
            name = self.module.get_unique_name(name)
            # First as if it returned nothing: the type comes with its first return.
            raw = [one for kind in kinds for one in flat(kind)]
            made = ir.Function(self.module, ir.FunctionType(ir.VoidType(), raw), name)
            # Not internal: LLVM would then inline what is called once, however large.
            made.linkage = "linkonce_odr"
            if part.sort == "helper":
                made.attributes.add("alwaysinline")
            result = _Body(self, part.function, made, kinds).emit(
                fast=part.sort != "exact"
            )
            made.ftype = ir.FunctionType(result.raw, raw)
            made.type = made.ftype.as_pointer()
            made.return_value = ReturnValue(made, result.raw)
            self._made[key] = made, result
        return self._made[key]


def flat(kind: Kind) -> list[ir.Type]:
    """Return the types of LLVM's arguments that are one of these."""
    if isinstance(kind, Several):
        return [one for item in kind.items for one in flat(item)]
    return [] if isinstance(kind, Known) else [kind.raw]


def gathered(kind: Kind, raw: Any) -> Value:
    """Return the value of a type that an iterator of arguments has next."""
    if isinstance(kind, Several):
        return Value(kind, tuple(gathered(item, raw) for item in kind.items))
    return Value(kind) if isinstance(kind, Known) else Value(kind, next(raw))


class _Body(Expressions):
    """The code of one function."""

    def __init__(
        self, module: Module, function: Function, made: Any, kinds: Sequence[Kind]
    ) -> None:
        builder = ir.IRBuilder(made.append_basic_block("entry"))
        super().__init__(function, module.function, builder)
        self._made = made
        self._tree = self._found_tree()
        self._start = self._builder.block  # of variables, which are nothing but that
        self._result: Kind | None = None
        self._loops: list[tuple[Any, Any]] = []  # where continue and break lead
        given = {
            one.id
            for one in ast.walk(self._tree)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
        arguments = iter(made.args)
        for name, kind in zip(self._arguments(len(kinds)), kinds, strict=True):
            value = gathered(kind, arguments)
            if name in given:
                self._put(name, value)
            else:
                self._values[name] = value

    def _found_tree(self) -> ast.FunctionDef:
        try:
            return tree_of(self._function)
        except LookupError:
            name = self._function.__name__
            raise UntranslatedError(f"the text of {name} is not there") from None

    def _arguments(self, count: int) -> list[str]:
        names = [one.arg for one in self._tree.args.args]
        if len(names) != count:
            name = self._function.__name__
            raise UntranslatedError(f"{name} takes {len(names)} arguments, not {count}")
        return names

    def emit(self, *, fast: bool) -> Kind:
        """Emit it all; returns the type of what it returns."""
        body = self._builder.append_basic_block("body")
        self._builder.position_at_end(body)
        self._block(self._tree.body)
        if not self._builder.block.is_terminated:
            self._return(NOTHING)
        with self._builder.goto_block(self._start):
            self._builder.branch(body)
        if fast:
            _allow(self._made)
        return self._result or types.void

    # ------------------------------------------------------------ statements

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for one in statements:
            if self._builder.block.is_terminated:
                return
            name = type(one).__name__
            try:
                getattr(self, f"_do_{name}", self._unknown)(one)
            except UntranslatedLineError:  # of a function that is called, or further in
                raise
            except UntranslatedError as error:
                path = self._function.__code__.co_filename
                where = f"{path}, line {one.lineno}"
                raise UntranslatedLineError(f"{where}: {error}") from None

    def _unknown(self, node: ast.stmt) -> None:
        raise UntranslatedError(f"{type(node).__name__} has no translation")

    def _do_Pass(self, node: ast.Pass) -> None:
        pass

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def _do_Return(self, node: ast.Return) -> None:
        self._return(NOTHING if node.value is None else self.value(node.value))

    def _return(self, value: Value) -> None:
        if self._result is None:
            self._result = value.kind
        elif self._result != value.kind:
            self._differ("what is returned", self._result, value.kind)
        if isinstance(value.kind, Known):
            self._builder.ret_void()
        else:
            self._builder.ret(self._packed(value))

    def _packed(self, value: Value) -> Any:
        if not isinstance(value.kind, Several):
            return value.raw
        raw = ir.Constant(value.kind.raw, ir.Undefined)
        for index, item in enumerate(value.raw):
            raw = self._builder.insert_value(raw, self._packed(item), index)
        return raw

    def _differ(self, what: str, one: Kind, other: Kind) -> None:
        raise UntranslatedError(f"{what} is {one}, then {other}")

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self._give(target, value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._give(node.target, self.value(node.value))

    def _give(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self._put(target.id, value)
        elif (
            isinstance(target, ast.Tuple)
            and isinstance(value.kind, Several)
            and len(target.elts) == len(value.raw)
        ):
            for one, item in zip(target.elts, value.raw, strict=True):
                self._give(one, item)
        elif isinstance(target, ast.Subscript):
            self._store(*self.element(target), value)
        else:
            raise UntranslatedError(f"{ast.unparse(target)} gets {value.kind}")

    def _store(self, kind: Kind, place: Any, value: Value) -> None:
        self._builder.store(cast(self._builder, value, kind).raw, place)

    def _put(self, name: str, value: Value) -> None:
        """Give a variable a value."""
        if name not in self._places:
            self._places[name] = self._place(value.kind, name)
        kind, place = self._places[name]
        if kind != value.kind:
            self._differ(name, kind, value.kind)
        self._fill(place, value)

    def _place(self, kind: Kind, name: str) -> tuple[Kind, Any]:
        """Return a type, and memory for values of it."""
        if isinstance(kind, Several):
            return kind, [self._place(item, name)[1] for item in kind.items]
        if isinstance(kind, Known):
            return kind, None
        with self._builder.goto_block(self._start):
            return kind, self._builder.alloca(kind.raw, name=name)

    def _fill(self, place: Any, value: Value) -> None:
        if isinstance(value.kind, Several):
            for one, item in zip(place, value.raw, strict=True):
                self._fill(one, item)
        elif not isinstance(value.kind, Known):
            self._builder.store(value.raw, place)

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        name = type(node.op).__name__
        if isinstance(node.target, ast.Subscript):
            kind, place = self.element(node.target)
            before = Value(kind, self._builder.load(place))
            value = binary(self._builder, name, before, self.value(node.value))
            self._store(kind, place, value)
            return
        before = self.value(node.target)
        value = binary(self._builder, name, before, self.value(node.value))
        self._give(node.target, value)

    def _do_If(self, node: ast.If) -> None:
        test = self.condition(node.test)
        if test.number is not None:
            self._block(node.body if test.number else node.orelse)
            return
        then, after = self._blocks("then", "after")
        other = self._blocks("else")[0] if node.orelse else after
        self._builder.cbranch(test.raw, then, other)
        goes_on = [self._inside(then, node.body, after)]
        if node.orelse:
            goes_on.append(self._inside(other, node.orelse, after))
        self._builder.position_at_end(after)
        if node.orelse and not any(goes_on):
            self._builder.unreachable()

    def _inside(self, block: Any, statements: Sequence[ast.stmt], after: Any) -> bool:
        """Emit statements into a block; returns whether they go on with the next."""
        self._builder.position_at_end(block)
        self._block(statements)
        goes_on = not self._builder.block.is_terminated
        if goes_on:
            self._builder.branch(after)
        return goes_on

    def _blocks(self, *names: str) -> list[Any]:
        return [self._builder.append_basic_block(name) for name in names]

    def _do_While(self, node: ast.While) -> None:
        if node.orelse:
            raise UntranslatedError("else of a loop")
        head, body, after = self._blocks("head", "body", "after")
        self._builder.branch(head)
        self._builder.position_at_end(head)
        test = self.condition(node.test)
        self._builder.cbranch(test.raw, body, after)
        self._loop(body, node.body, head, after)

    def _loop(
        self, body: Any, statements: Sequence[ast.stmt], again: Any, after: Any
    ) -> None:
        self._loops.append((again, after))
        self._inside(body, statements, again)
        self._loops.pop()
        self._builder.position_at_end(after)

    def _do_Continue(self, node: ast.Continue) -> None:
        self._builder.branch(self._loops[-1][0])

    def _do_Break(self, node: ast.Break) -> None:
        self._builder.branch(self._loops[-1][1])

    def _do_For(self, node: ast.For) -> None:
        call, target = node.iter, node.target
        ranges = isinstance(call, ast.Call) and self._meant(call.func) is range
        if not ranges or not isinstance(target, ast.Name) or node.orelse:
            raise UntranslatedError("a loop that is not over a range")
        if not 1 <= len(call.args) <= 3 or call.keywords:  # type: ignore[attr-defined]
            raise UntranslatedError(f"{ast.unparse(call)} has no translation")
        builder = self._builder
        given = [
            cast(builder, self.value(one), types.int64)
            for one in call.args  # type: ignore[attr-defined]
        ]
        start, stop = (whole(0), given[0]) if len(given) == 1 else given[:2]
        step = given[2] if len(given) == 3 else whole(1)
        if step.number == 0:
            raise UntranslatedError("the step of a range is 0")
        before = builder.block
        head, body, latch, after = self._blocks("for", "body", "next", "after")
        builder.branch(head)
        builder.position_at_end(head)
        at = builder.phi(types.int64.raw)
        at.add_incoming(start.raw, before)
        builder.cbranch(self._goes_on(at, stop, step), body, after)
        builder.position_at_end(body)
        self._put(target.id, Value(types.int64, at))  # type: ignore[attr-defined]
        self._loop(body, node.body, latch, after)
        builder.position_at_end(latch)
        at.add_incoming(builder.add(at, step.raw, flags=("nsw",)), latch)
        builder.branch(head)
        builder.position_at_end(after)

    def _goes_on(self, at: Any, stop: Value, step: Value) -> Any:
        builder = self._builder
        below = builder.icmp_signed("<", at, stop.raw)
        if step.number is not None and step.number > 0:
            return below
        above = builder.icmp_signed(">", at, stop.raw)
        if step.number is not None:
            return above
        up = builder.icmp_signed(">", step.raw, ir.Constant(types.int64.raw, 0))
        return builder.select(up, below, above)


def _allow(made: ir.Function) -> None:
    """Allow that sums are reordered, where an instruction does not say otherwise."""
    for block in made.blocks:
        for one in block.instructions:
            if one.opname in FLAGGED:
                if not one.flags:
                    one.flags.extend(FLAGS)
            elif isinstance(one, ir.CallInstr) and one.type in REAL:
                one.fastmath.update(FLAGS)
