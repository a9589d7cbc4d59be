"""A graph to layers: each node in turn, constants as they come, refusals together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netspec.errors import (
    FileError,
    NetspecError,
    UnsupportedError,
    did_you_mean,
    join,
)
from netspec.onnx.reading.build import Build
from netspec.onnx.reading.file import opsets, tensor_values
from netspec.onnx.reading.folding import FOLDED, SPARE, fold, foldable, output_shapes
from netspec.onnx.reading.inputs import Given, read_inputs
from netspec.onnx.reading.library import library
from netspec.onnx.reading.node import Node, Refused
from netspec.onnx.reading.rules import RULES, WHOLE_NUMBERS
from netspec.onnx.reading.values import CUT, REAL, Blob, Constant, Padded, Value
from netspec.ops.base import MAX_COUNT
from netspec.schema import BlobShape, InputParameter, LayerParameter

# Types that are refused, or may be, and whose result has the shape of their input.
_KEEPS_SHAPE = frozenset(
    {
        "BatchNormalization",
        "Ceil",
        "Clip",
        "Cos",
        "Dropout",
        "Erf",
        "Floor",
        "Gelu",
        "InstanceNormalization",
        "IsNaN",
        "LRN",
        "LayerNormalization",
        "PRelu",
        "Round",
        "Sign",
        "Sin",
        "ThresholdedRelu",
    }
)
INPUT = -1  # the node of layers for inputs
OUTPUT = -2  # and of those for outputs


class Graph:
    """A graph of a file on its way to layers.

    values: what every tensor became; None for one that a refused node makes, where
    nothing is known of it. outputs: the blobs of the results, by their names. room: how
    many values nodes without inputs may still make.
    """

    def __init__(self, model: Any, path: str | Path) -> None:
        self.graph = model.graph
        self.path = path
        self.versions = opsets(model, path)
        self.needed = _needed(model.graph, path)
        names = [name for node in self.needed.values() for name in node.input if name]
        names += [output.name for output in model.graph.output]
        self.build = Build(dict(Counter(names)))
        self.values: dict[str, Value | None] = {}
        self.inputs: list[Given] = []
        self.outputs: dict[str, Blob] = {}
        self.refusals: list[str] = []
        self.read = set(names)
        self.room = SPARE

    def convert(
        self, shapes: Mapping[str, Sequence[int]], batch_size: int | None
    ) -> None:
        """Make all layers. Raises one error that names all nodes that are refused."""
        stored = {each.name: each for each in self.graph.initializer}
        inputs = [each for each in self.graph.input if each.name not in stored]
        self.inputs = read_inputs(inputs, shapes, batch_size)
        self._warn_of_inputs()
        for given in self.inputs:
            if given.name in self.read:
                self.values[given.name] = self._input(given)
        for index, node in self.needed.items():
            for name in node.input:
                if name in stored and name not in self.values:
                    self.values[name] = self._stored(stored[name])
            self._convert_node(index, node)
        if not self.refusals:
            self._end(stored)
        if self.refusals:
            raise UnsupportedError(f"{self.path}: {join(self.refusals)}")

    def _warn_of_inputs(self) -> None:
        unread = [each.name for each in self.inputs if each.name not in self.read]
        if unread:
            told = ", ".join(map(repr, unread))
            self.build.doubt(f"nothing reads input {told}; it is left out")
        open_ = [each.name for each in self.inputs if each.open_batch]
        if open_:
            told = ", ".join(map(repr, open_))
            self.build.doubt(
                f"the number of items of input {told} is open in the file and 1 here; "
                f"give batch_size, or --batch-size, for another one"
            )

    def _input(self, given: Given) -> Blob:
        build = self.build
        build.node = INPUT
        param = InputParameter(shape=[BlobShape(dim=given.shape)])
        message = LayerParameter(type="Input", input_param=param)
        blob = build.layer(message, [], role=given.name)
        blob.kind, blob.tensor = given.kind, given.name
        return blob

    def _stored(self, tensor: Any) -> Constant:
        values = tensor_values(tensor, self.path)
        constant = Constant(values, tensor.name, True)
        self.room += 4 * values.size
        if constant.is_real and values.dtype.name != "float32":
            self.build.doubt(
                f"values of type {values.dtype.name} are turned to float32, so results "
                f"may differ from those of other programs by their rounding"
            )
        return constant

    def _convert_node(self, index: int, proto: Any) -> None:
        """Read one node; what is wrong with it is kept for the end."""
        self.build.node = index
        made: list[Value | None] = [None] * len(proto.output)
        try:
            node = self._node(index, proto)
            made = self._made(node)
        except Refused as error:
            self.refusals.append(f"{described(index, proto)}: {error}")
            made = self._guessed(proto)
        for name, value in zip(proto.output, made, strict=False):
            if name:
                self.values[name] = value
                if isinstance(value, Blob) and not value.tensor:
                    value.tensor = name

    def _node(self, index: int, proto: Any) -> Node:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        inputs: list[Value | None] = []
        for name in proto.input:
            if name and name not in self.values:
                raise FileError(
                    f"{self.path}: {described(index, proto)} reads {name!r}, which "
                    f"nothing before it makes"
                )
            inputs.append(self.values[name] if name else None)
        schema = None
        version = self.versions.get(domain, 0)
        if domain == "":
            schema = _schema(proto.op_type, version)
        if any(each.HasField("g") or each.graphs for each in proto.attribute):
            raise Refused(f"{proto.op_type} runs graphs of its own; no layer does")
        if schema is None or (proto.op_type not in RULES and not foldable_type(proto)):
            self._refuse_type(proto, domain, known=schema is not None)
        node = Node(index, proto, version, inputs, schema)
        _check_form(node)
        return node

    def _refuse_type(self, proto: Any, domain: str, *, known: bool) -> None:
        if domain:
            raise Refused(f"its type {domain}:{proto.op_type} is not one of ONNX's own")
        if known:
            raise Refused(
                f"no layer, nor several together, are equal to {proto.op_type}"
            )
        hint = did_you_mean(proto.op_type, RULES)
        raise Refused(
            f"version {self.versions['']} of ONNX has no {proto.op_type}{hint}"
        )

    def _made(self, node: Node) -> list[Value | None]:
        """Return what the outputs of a node are."""
        unknown = any(name and self.values[name] is None for name in node.proto.input)
        if unknown:
            return [None] * len(node.proto.output)
        if foldable(node):
            made = fold(node, self.room)
            if node.op != "Identity":
                self.room -= sum(each.values.size for each in made if each is not None)
            return list(made)
        if node.op not in RULES:
            node.refuse("its inputs are computed by the net; no layer is equal to it")
        if not node.reads_real() and node.op not in WHOLE_NUMBERS:
            kinds = {x.kind for x in node.computed()} - {REAL}
            node.refuse(f"it computes with {' and '.join(sorted(kinds))}")
        try:
            found = RULES[node.op](node, self.build)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, NetspecError):
                raise
            # What no field of a layer can hold, such as a kernel of 2^40 pixels.
            node.refuse(f"one of its options means nothing: {str(error)[:200]}")
        values = list(found) if isinstance(found, Sequence) else [found]
        values += [None] * (len(node.proto.output) - len(values))
        self._compare(node, values)
        return values

    def _compare(self, node: Node, values: Sequence[Value | None]) -> None:
        """Refuse results of another shape than the library infers.

        Of pooling that rounds up it has one window too many before version 22 where the
        last would begin behind the image; ONNX Runtime leaves that out.
        """
        if node.flag("ceil_mode"):
            return
        for value, wanted in zip(values, output_shapes(node), strict=False):
            if value is not None and wanted is not None and value.shape != wanted:
                node.refuse(
                    f"its layers make shape {value.shape}, the library onnx infers "
                    f"{wanted}; programs differ about such a node"
                )

    def _guessed(self, proto: Any) -> list[Value | None]:
        """Return stand-ins for the results of a refused node whose shape is told.

        With them what comes behind it is looked at too.
        """
        first = self.values.get(proto.input[0]) if proto.input else None
        known = first is not None and proto.op_type in _KEEPS_SHAPE
        made: list[Value | None] = [None] * len(proto.output)
        if known and first is not None and made:
            made[0] = Blob(first.shape)
        return made

    def _end(self, stored: Mapping[str, Any]) -> None:
        """Find the blobs of the results; what is read as well, or twice, is split."""
        found: dict[Blob, list[str]] = {}
        for output in self.graph.output:
            name = output.name
            value = self.values.get(name)
            if isinstance(value, Padded):
                value = self.build.padding(value)
            if isinstance(value, Constant) or name in stored:
                said = f"output {name!r} does not depend on what the net is given"
            elif value is None:
                said = f"nothing makes output {name!r}"
            elif value.kind == CUT:
                said = f"output {name!r} is cut to integers; no layer cuts"
            else:
                found.setdefault(value.twin or value, []).append(name)
                continue
            self.refusals.append(said)
        self.build.node = OUTPUT
        for blob, names in found.items():
            is_input = blob.maker is not None and not blob.maker.bottoms
            tops = [blob]
            if blob.readers or len(names) > 1 or is_input:
                message = LayerParameter(type="Split")
                tops = self.build.layers_of(
                    message, [blob], tops=len(names), role=names[0]
                )
            self.outputs.update(zip(names, tops, strict=True))


def foldable_type(proto: Any) -> bool:
    """Tell whether a type may be computed where all is known."""
    return proto.op_type in FOLDED or proto.op_type == "Size"


def described(index: int, proto: Any) -> str:
    """Return how messages name a node: by its name, else by what it makes."""
    name = proto.name or next(
        (name for name in proto.output if name), f"number {index}"
    )
    return f"node {name!r} ({proto.op_type})"


def _schema(kind: str, version: int) -> Any:
    onnx = library()
    try:
        return onnx.defs.get_schema(kind, version, "")
    except Exception:  # of the library, which has no class for it
        return None


def _check_form(node: Node) -> None:
    """Refuse numbers of inputs and options that this version of the type lacks."""
    schema, inputs = node.schema, len(node.inputs)
    if not schema.min_input <= inputs <= schema.max_input:
        most = "more" if schema.max_input > MAX_COUNT else schema.max_input
        node.refuse(
            f"it has {inputs} inputs; expected from {schema.min_input} to {most}"
        )
    if not schema.min_output <= len(node.proto.output) <= schema.max_output:
        node.refuse(f"it has {len(node.proto.output)} outputs")
    for each in node.proto.attribute:
        if each.name not in schema.attributes:
            hint = did_you_mean(each.name, schema.attributes)
            node.refuse(f"it has no attribute {each.name!r}{hint}")
        if each.type != schema.attributes[each.name].type.value:
            node.refuse(f"attribute {each.name!r} has another type than it should")


def _needed(graph: Any, path: str | Path) -> dict[int, Any]:
    """Return the nodes that the outputs need, by their places, in order."""
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and name in makers:
                raise FileError(f"{path}: two nodes make {name!r}; is it broken?")
            if name:
                makers[name] = index
    wanted = [output.name for output in graph.output]
    found: set[int] = set()
    while wanted:
        maker = makers.get(wanted.pop())
        if maker is not None and maker not in found:
            found.add(maker)
            wanted += graph.node[maker].input
    return {index: graph.node[index] for index in sorted(found)}
