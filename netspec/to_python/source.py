"""Nets to Python: source that makes a net, with its repeated parts as functions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from netspec import layers
from netspec.catalogue import LAYER_TYPES
from netspec.errors import NetspecError
from netspec.language.folder import Folder
from netspec.language.proto_to_python import values_of
from netspec.nets.current import current
from netspec.schema import NetParameter
from netspec.text import to_text
from netspec.to_python.calls import statements
from netspec.to_python.constants import constants_of
from netspec.to_python.factoring import factor
from netspec.to_python.naming import free_name, variable_name
from netspec.to_python.program import Func, Program, Statement
from netspec.to_python.pyformat import (
    INDENT,
    Doc,
    Group,
    Items,
    Param,
    Template,
    call,
    document,
    flat,
    is_name,
    layout,
)

TAKEN = ("tops", "to_python")  # attributes of a NetSpec, beside those of a Folder
NAME = "net"  # of the function that makes the net
MAX_DOCSTRING = 60  # characters of a list of layers


def python_source(net: NetParameter) -> str:
    """Return Python source with a function `net` that makes `net`, exactly.

    Parts that are repeated with other names, inputs or numbers are functions, options
    that are repeated are constants. The source is run and its net compared before it is
    returned; where a net has what calls cannot say, the source is plainer: without
    functions, or with the net as text. Values of parameters are left out.
    """
    wanted = NetParameter()
    wanted.CopyFrom(current(net))
    for layer in wanted.layer:
        layer.ClearField("blobs")
    for write in (_factored, _plain):
        try:
            source = write(wanted)
            if net_of(source) == wanted:
                return source
        except (NetspecError, LookupError):
            continue
    return _as_text(wanted)


def net_of(source: str) -> NetParameter:
    """Run generated source and return its net."""
    space: dict[str, Any] = {"__name__": "generated_net"}
    exec(compile(source, "<generated>", "exec"), space)  # noqa: S102 - our own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: NetParameter = space[NAME]().to_proto()
    return result


def _factored(net: NetParameter) -> str:
    program = factor(lambda: Program(statements(net)))
    return _Writer(net, program).text()


def _plain(net: NetParameter) -> str:
    return _Writer(net, Program(statements(net))).text()


def _as_text(net: NetParameter) -> str:
    text = to_text(net).replace("\\", "\\\\").replace('"""', '""\\"')
    title = f"The net {net.name!r}" if net.name else "A net"
    return (
        f'"""{title}, which calls of layer functions cannot say."""\n\n'
        f"import netspec\n\n"
        f'TEXT = """\\\n{text}"""\n\n\n'
        f"def {NAME}():\n{INDENT}"
        f'"""Return the net."""\n{INDENT}return netspec.load(TEXT)\n'
    )


class _Writer:
    """Writes a program as source."""

    def __init__(self, net: NetParameter, program: Program) -> None:
        self.net = net
        self.program = program
        bodies = [body for body, _ in program.bodies()]
        self.constants, self.groups = constants_of(bodies)
        self.named = {repr(constant.value): constant for constant in self.constants}
        self.uses_netspec = False

    def text(self) -> str:
        """Return the source."""
        functions = [self._function(f) for f in reversed(self.program.functions)]
        main = self._main()
        constants = [
            layout(f"{constant.name} = ", document(constant.value))
            for constant in self.constants
        ]
        imports = ["from netspec import NetSpec", "from netspec import layers as L"]
        if self.uses_netspec:
            imports.insert(0, "import netspec")
        title = self.net.name.replace('"', "") if self.net.name else ""
        title = f"The net {title}" if title.isprintable() and title else "A net"
        title = title.replace("\\", "/")
        head = f'"""{title[:MAX_DOCSTRING]}, written by netspec.to_python."""'
        top = "\n".join([head, "", *imports])
        parts = [top, *(["\n".join(constants)] if constants else [])]
        return "\n\n".join(parts) + "\n\n\n" + "\n\n\n".join([main, *functions]) + "\n"

    def _main(self) -> str:
        rest = NetParameter()
        rest.CopyFrom(self.net)
        rest.ClearField("layer")
        fields = values_of(rest)
        name = [document(fields.pop("name"))] if "name" in fields else []
        lines = [
            f"def {NAME}():",
            f'{INDENT}"""Return the net."""',
            layout("n = ", call("NetSpec", name, fields), indent=INDENT),
        ]
        names = _main_names(self.program.main)
        for statement in self.program.main:
            target = self._targets(statement)
            inputs = [names[ref] for ref in statement.inputs if isinstance(ref, int)]
            lines.append(self._call(target, statement, inputs))
        lines.append(f"{INDENT}return n")
        return "\n".join(lines)

    def _function(self, function: Func) -> str:
        params = [*function.names, *function.inputs]
        items: list[tuple[str, Doc]] = [("", "n"), *(("", p.name) for p in params)]
        for param in function.values:
            default = function.defaults[param.name]
            required = param in function.required
            items.append(
                ("", param.name) if required else (f"{param.name}=", document(default))
            )
        signature = Group(f"{function.name}(", tuple(items), ")")
        lines = [layout("def ", signature, ":"), f'{INDENT}"""{_summary(function)}"""']
        read = {ref for s in function.body for ref in s.inputs} | set(function.returns)
        taken = [p.name for p in (*params, *function.values)]
        taken += [f.name for f in self.program.functions]
        names: dict[int, str] = {}
        for statement in function.body:
            variables = []
            for out in statement.outs:
                if out in read:
                    kind = statement.callee
                    stem = (
                        variable_name(kind)
                        if isinstance(kind, str)
                        else _last_kind(kind)
                    )
                    names[out] = free_name(stem, taken)
                    taken.append(names[out])
                variables.append(names.get(out, "_"))
            inputs = [
                r.name if isinstance(r, Param) else names[r] for r in statement.inputs
            ]
            target = self._targets(statement)
            last = statement is function.body[-1]
            whole = statement.outs == function.returns != []
            if last and not target and whole:
                lines.append(self._call("return ", statement, inputs))
                return "\n".join(lines)
            if any(out in read for out in statement.outs):
                target = f"{', '.join(variables)} = {target}"
            lines.append(self._call(target, statement, inputs))
        if function.returns:
            lines.append(
                f"{INDENT}return {', '.join(names[r] for r in function.returns)}"
            )
        return "\n".join(lines)

    def _targets(self, statement: Statement) -> str:
        if isinstance(statement.callee, Func):
            return ""
        return ", ".join(_place(items) for items in statement.names) + " = "

    def _call(self, target: str, statement: Statement, inputs: list[str]) -> str:
        options = dict(statement.options)
        callee = statement.callee
        positional: list[Doc] = []
        if isinstance(callee, Func):
            name = callee.name
            positional += ["n", *(_text(items) for items in statement.names), *inputs]
            positional += [
                document(self._constant(options.pop(p.name))) for p in callee.positional
            ]
        else:
            name = f"L.{callee}"
            positional += inputs
            if callee not in LAYER_TYPES or not hasattr(layers, callee):
                self.uses_netspec = True
                name, positional = "netspec.layer", [document(callee), *inputs]
            row = LAYER_TYPES.get(callee)
            if statement.ntop != (0 if row is not None and row.tops == (0, 0) else 1):
                options["ntop"] = statement.ntop
            if statement.in_place:
                options["in_place"] = True
        group = self.groups.get(statement)
        named = {
            k: v for k, v in options.items() if group is None or k not in group.value
        }
        named = {k: self._constant(v) for k, v in named.items()}
        made = call(name, positional, named)
        if group is not None:
            made = Group(made.opening, (*made.items, ("**", group.name)), ")")
        return layout(target, made, indent=INDENT)

    def _constant(self, value: Any) -> Any:
        if isinstance(value, dict | list):
            return self.named.get(repr(value), value)
        return value


def _main_names(main: list[Statement]) -> dict[int, str]:
    """Return how the main function refers to every top."""
    names: dict[int, str] = {}
    for statement in main:
        names.update(zip(statement.outs, _out_names(statement), strict=True))
    return {number: _place(tuple(name)) for number, name in names.items()}


def _out_names(statement: Statement) -> list[str]:
    """Return the names, without parameters, of what a statement makes."""
    if isinstance(statement.callee, str):
        return [
            "".join(map(str, items)) for items in statement.names[: len(statement.outs)]
        ]
    function = statement.callee
    given = dict(zip(function.names, statement.names, strict=True))
    inner: dict[int, str] = {}
    for each in function.body:
        bound = Statement(
            each.callee,
            [_filled(items, given) for items in each.names],
            each.inputs,
            each.options,
            each.outs,
        )
        inner.update(zip(each.outs, _out_names(bound), strict=True))
    return [inner[out] for out in function.returns]


def _filled(items: Items, given: Mapping[Param, Items]) -> Items:
    filled: list[str | Param] = []
    for item in items:
        filled += given[item] if isinstance(item, Param) else (item,)
    return tuple(filled)


def _place(items: Items) -> str:
    """Return how a name is assigned and read: `n.conv1`, or `n["conv1/relu"]`."""
    text = "".join(item for item in items if isinstance(item, str))
    plain = all(isinstance(item, str) for item in items)
    free = text not in TAKEN and not hasattr(Folder, text) and not text.startswith("_")
    if plain and free and is_name(text):
        return f"n.{text}"
    return f"n[{_text(items)}]"


def _text(items: Items) -> str:
    if all(isinstance(item, str) for item in items):
        return flat(document("".join(map(str, items))))
    return flat(document(Template(items)))


def _last_kind(function: Func) -> str:
    for statement in reversed(function.body):
        if isinstance(statement.callee, str):
            return variable_name(statement.callee)
        return _last_kind(statement.callee)
    return "x"


def _summary(function: Func) -> str:
    """Return what a function does, from the layers it makes."""
    counts: dict[str, int] = {}
    _count(function, counts)
    words = [kind if n == 1 else f"{n} {kind}" for kind, n in counts.items()]
    listed = ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else words[0]
    if len(listed) > MAX_DOCSTRING:
        listed = f"{sum(counts.values())} layers"
    return f"Add {listed}."


def _count(function: Func, counts: dict[str, int]) -> None:
    for statement in function.body:
        if isinstance(statement.callee, str):
            counts[statement.callee] = counts.get(statement.callee, 0) + 1
        else:
            _count(statement.callee, counts)
