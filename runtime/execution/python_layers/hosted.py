"""The Python layers of a net: their shapes for the graph, their calls in a pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.errors import ShapeError, SpecWarning, UnsupportedError
from netspec.graph import Graph
from netspec.notebooks import warn_user
from netspec.ops.base import ParamDef, Shape, constant, label
from netspec.ops.own_layer import Definition
from netspec.ops.python import Python, python_op
from netspec.schema import LayerParameter, NetParameter
from netspec.site import shown_path
from runtime.execution.mirror import HostView, Mirror
from runtime.execution.parameters import ParameterArrays
from runtime.execution.python_layers.blobs import LayerBlob, LayerBlobs
from runtime.execution.python_layers.code import Allow, find_classes
from runtime.execution.python_layers.layer import Layer
from runtime.execution.python_layers.own import OwnHosted
from runtime.layers.base import TopsChanged
from runtime.primitives import Primitives

if TYPE_CHECKING:
    from runtime.layers.base import Kernel

FIXED_BOTTOM = "the layer that makes it gives it its shape"
FIXED_PARAMETER = (
    "the net has its parameters, which keep their shapes; shape them in setup"
)


class PythonLayers:
    """All layers written in Python of one net, each an object as long as the net lives.

    allow: which modules may be imported; see `find_classes` for the errors.
    mirror, arrays: what brings blobs to the device, and the net's parameters.
    """

    def __init__(
        self, message: NetParameter, allow: Allow, dtype: str, backend: Primitives
    ) -> None:
        own = [layer for layer in message.layer if layer.type == "Python"]
        kinds = find_classes(own, allow)
        self.mirror = Mirror(backend)
        self.arrays: Sequence[ParameterArrays] = ()
        self.shared: set[int] = set()  # parameters with several users
        self.read_tops: set[str] = set()  # blobs that layers or the objective read
        self._dtype = dtype
        self._pairs = list(zip(own, kinds, strict=True))
        self._kinds = {_key(layer): kind for layer, kind in self._pairs}
        self._hosted: dict[Any, Hosted | OwnHosted] = {}

    def read(self, layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Python:
        """Return the op of a Python layer under bottoms of these shapes.

        The first time this makes the layer and calls `setup` and `reshape`, later
        `reshape` where the shapes are others.
        """
        key = _key(layer)
        if key not in self._hosted:
            kind = self._kinds[key]
            self._hosted[key] = (
                OwnHosted(kind)
                if isinstance(kind, Definition)
                else Hosted(self, layer, kind, self._dtype)
            )
        return self._hosted[key].op(layer, bottoms)

    @property
    def blob_names(self) -> frozenset[str]:
        """The blobs in which a `Layer` may find what it left there."""
        return frozenset(
            name
            for layer, kind in self._pairs
            if not isinstance(kind, Definition)
            for name in (*layer.bottom, *layer.top)
        )

    def of(self, layer: LayerParameter) -> Hosted | OwnHosted:
        """Return what runs a layer that `read` has seen."""
        return self._hosted[_key(layer)]

    def use(self, mirror: Mirror, arrays: Sequence[ParameterArrays]) -> None:
        """Take the net's mirror and parameters, before kernels are bound."""
        self.mirror, self.arrays = mirror, arrays

    def start_parameters(
        self,
        graph: Graph,
        arrays: Sequence[ParameterArrays],
        borrowed: Mapping[int, Any],
        backend: Primitives,
    ) -> None:
        """Give the parameters that begin in Python layers the values of their setup."""
        self.shared = {one.index for one in graph.parameters if len(one.users) > 1}
        self.read_tops = {
            graph.edges[edge].blob
            for node in graph.nodes
            for edge, weight in zip(node.tops, node.loss_weights, strict=True)
            if graph.edges[edge].consumers or weight
        }
        for parameter in graph.parameters:
            node = graph.nodes[parameter.owner.node]
            if node.type != "Python" or parameter.index in borrowed:
                continue
            layer = self.of(node.layer).layer
            if layer is not None:
                values = layer.blobs[parameter.owner.slot].data
                out = arrays[parameter.index].data
                backend.upload(values.reshape(-1), out=out)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Add to an error of a graph that layers in Python gave their tops no shape."""
        try:
            yield
        except ShapeError as error:
            how = "setup or reshape"
            found = [one.without_shape(how) for one in self._hosted.values()]
            said = [one for one in found if one]
            if not said:
                raise
            raise ShapeError("\n".join([str(error), *said])) from None

    @property
    def read_shapes(self) -> bool:
        """Whether there are layers whose `reshape` may give other shapes by itself."""
        return any(one.layer is not None for one in self._hosted.values())

    def tops_of(self, layer: LayerParameter) -> tuple[Shape, ...]:
        """Return the shapes that a `Layer` has given its tops."""
        hosted = self.of(layer)
        return tuple(blob.shape for blob in getattr(hosted, "tops", ()))

    def reshape_all(self) -> None:
        """Let the next `read` of every layer call its `reshape`."""
        for one in self._hosted.values():
            one.seen = None

    def hold(self, kernels: Sequence[Kernel[Any]]) -> None:
        """Copy what is to be found in the blobs once other kernels have the memory."""
        for kernel in kernels:
            if kernel.node.type == "Python":
                self.of(kernel.node.layer).hold(kernel)

    def restore(self, kernels: Sequence[Kernel[Any]]) -> None:
        """Go back to the arrays of these kernels, after a change that failed."""
        for kernel in kernels:
            if kernel.node.type == "Python":
                hosted = self.of(kernel.node.layer)
                hosted.forget()
                hosted.bind(kernel)


def _key(layer: LayerParameter) -> tuple[str, ...]:
    return (layer.name, *layer.top)


class Hosted:
    """One layer written in Python and its blobs.

    layer: the object. bottoms, tops: its blobs; one in place is both. seen: the shapes
    of the bottoms at the last `reshape`.
    """

    def __init__(
        self,
        group: PythonLayers,
        message: LayerParameter,
        kind: type[Layer],
        dtype: str,
    ) -> None:
        self._group = group
        self._label = label(message)
        self._kind = f"{kind.__module__}.{kind.__qualname__}"
        self.seen: tuple[Shape, ...] | None = None
        self._all_shaped = False  # whether it was looked for tops without a shape
        self._bound: Sequence[ParameterArrays] | None = None
        self.tops = [LayerBlob(name, dtype) for name in message.top]
        self.bottoms: list[LayerBlob] = []
        for place, name in enumerate(message.bottom):
            over = place < len(message.top) and message.top[place] == name
            self.bottoms.append(self.tops[place] if over else LayerBlob(name, dtype))
        self.layer = self._make(message, kind, dtype)

    def _make(self, message: LayerParameter, kind: type[Layer], dtype: str) -> Layer:
        with self._naming("__init__"):
            layer = kind(message)
        layer.param_str = layer.param_str_ = message.python_param.param_str
        layer.phase = message.phase
        if not hasattr(kind, "name"):
            layer.name = message.name  # type: ignore[attr-defined]
        layer.blobs = LayerBlobs(message.name, dtype)
        for given in message.blobs:
            dims = given.shape.dim if given.HasField("shape") else None
            old = (given.num, given.channels, given.height, given.width)
            layer.blobs.add_blob(*(old if dims is None else dims))
            values = np.asarray(given.double_data or given.data)
            if values.size == layer.blobs[-1].count:
                layer.blobs[-1].data.reshape(-1)[:] = values
        return layer

    # ------------------------------------------------------------ for the graph

    def op(self, message: LayerParameter, bottoms: tuple[Shape, ...]) -> Python:
        """Return the op under bottoms of these shapes; see `PythonLayers.read`."""
        if bottoms != self.seen:
            first = not self.layer.blobs.fixed
            self._stage(bottoms)
            if first:
                with self._naming("setup"):
                    self.layer.setup(self.bottoms, self.tops)
            with self._naming("reshape"):
                self.layer.reshape(self.bottoms, self.tops)
            self._fix()
            self.seen = bottoms
        tops = [blob.shape for blob in self.tops]
        params = [ParamDef(blob.shape, constant()) for blob in self.layer.blobs]
        return python_op(message, bottoms, tops, params)

    def forget(self) -> None:
        """Leave the shapes that the net cannot follow."""
        for blob in (*self.bottoms, *self.tops):
            blob.forget()

    def _stage(self, shapes: tuple[Shape, ...]) -> None:
        for blob, shape in zip(self.bottoms, shapes, strict=True):
            blob.stage(shape)
            if blob not in self.tops:
                blob.fixed = FIXED_BOTTOM

    def _fix(self) -> None:
        self.layer.blobs.fixed = True
        for blob in self.layer.blobs:
            blob.fixed = FIXED_PARAMETER

    # ------------------------------------------------------------ in a pass

    def hold(self, kernel: Kernel[Any]) -> None:
        """Copy what `bind` is to keep of blobs that have the same shape there."""
        for blob, x in zip(self.bottoms, kernel.op.bottoms, strict=True):
            if blob not in self.tops:
                blob.hold(diff=blob.shape == x)
        for blob, y in zip(self.tops, kernel.op.tops, strict=True):
            blob.hold(data=blob.shape == y)

    def bind(self, kernel: Kernel[Any]) -> None:
        """Take the arrays of a kernel."""
        self.seen = kernel.op.bottoms
        self._node = kernel.node.index
        self._mirror = mirror = self._group.mirror
        self._xp = kernel.xp
        self._over: list[tuple[LayerBlob, Any]] = []
        self._down: list[tuple[Any, Any]] = []
        for place, blob in enumerate(self.bottoms):
            x, dx = kernel.bottoms[place], kernel.dbottoms[place]
            if blob not in self.tops:
                blob.bind(mirror.view(x), _maybe(mirror, dx), keep_diff=True)
                continue
            y, dy = kernel.tops[place], kernel.dtops[place]
            diff = dy if dx is None else dx
            blob.bind(mirror.view(y), _maybe(mirror, diff), keep_data=True)
            if x is not y:
                self._over.append((blob, mirror.view(x)))
            if dx is not None and dy is not None and dx is not dy:
                self._down.append((dy, dx))
        weights = kernel.node.loss_weights
        for place, blob in enumerate(self.tops):
            if blob in self.bottoms:
                continue
            y, dy = kernel.tops[place], kernel.dtops[place]
            blob.bind(mirror.view(y), _maybe(mirror, dy), keep_data=True)
            if dy is None and weights[place]:
                blob.diff[...] = weights[place]
        self._bind_params(kernel)
        self._propagate = list(kernel.node.propagate)

    def _bind_params(self, kernel: Kernel[Any]) -> None:
        mirror = self._mirror
        self._learned: list[tuple[int, LayerBlob, Any]] = []
        pairs = zip(self.layer.blobs, kernel.dparams, strict=True)
        for slot, (blob, dw) in enumerate(pairs):
            if dw is not None:
                self._learned.append((slot, blob, dw))
            if self._bound is self._group.arrays:
                continue  # they outlive plans, and net.params has the same views
            # Others may prepare what they share, so they must hear of changes.
            shared = kernel.node.params[slot] in self._group.shared
            own = self._group.arrays[kernel.node.params[slot]]
            view = mirror.weight(own.data, blob.shape, tell=shared)
            diff = None if dw is None else mirror.weight_diff(own.diff, blob.shape)
            blob.bind(view, diff)
        self._bound = self._group.arrays

    def forward(self) -> None:
        """Call `reshape` and `forward`.

        Raises `TopsChanged` afterwards where the tops have other shapes now.
        """
        layer, bottoms, tops = self.layer, self.bottoms, self.tops
        self._mirror.hand_over()
        for blob, x in self._over:
            blob.stage(x.shape)
            blob.data[...] = x.read()
        step = "reshape"
        try:
            layer.reshape(bottoms, tops)
            step = "forward"
            layer.forward(bottoms, tops)  # type: ignore[attr-defined]
        except Exception as error:
            self._told(error, step)
            raise
        self._mirror.take_back()
        if not self._all_shaped:
            self._check_shaped()
        for blob in tops:
            if blob.has_own_shape:
                raise TopsChanged(self._node, (), done=True)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Call `backward`; what it gives as gradients of parameters is added up."""
        for dy, dx in self._down:
            self._xp.copyto(dx, dy)
        shown = [
            self._lend(accumulate[slot], blob, dw) for slot, blob, dw in self._learned
        ]
        self._mirror.hand_over()
        try:
            self.layer.backward(  # type: ignore[attr-defined]
                self.tops, self._propagate, self.bottoms
            )
        except Exception as error:
            self._told(error, "backward")
            raise
        finally:
            self._mirror.take_back()
            for (_, blob, dw), (spare, view) in zip(self._learned, shown, strict=True):
                if spare is not None:
                    blob.lend_diff(view)
                    self._xp.add(dw, spare, out=dw)

    def _lend(self, add: bool, blob: LayerBlob, dw: Any) -> tuple[Any, HostView | None]:
        """Give the layer zeros for a gradient: the array itself if nothing is in it."""
        if not add:
            dw.fill(0)
            return None, None
        spare = self._xp.zeros_like(dw)
        return spare, blob.lend_diff(self._mirror.view(spare))

    # ------------------------------------------------------------ errors

    def _check_shaped(self) -> None:
        """Refuse tops without a shape behind `forward`; warn where nobody reads them.

        Raises `ShapeError`.
        """
        said = self.without_shape("setup, reshape or forward")
        read = self._group.read_tops.intersection(blob.name for blob in self.tops)
        if said and read:
            raise ShapeError(said)
        self._all_shaped = True
        if said:
            warn_user(said, SpecWarning)

    def without_shape(self, methods: str) -> str:
        """Say that the layer has given a top no shape in `methods`, if that is so."""
        for place, blob in enumerate(self.tops):
            if blob.is_shaped or blob in self.bottoms:
                continue
            code = getattr(getattr(self.layer, "forward", None), "__code__", None)
            where = ""
            if code is not None:
                where = f", {shown_path(code.co_filename)}:{code.co_firstlineno},"
            return (
                f"{self._label}: class {self._kind}{where} gives top {blob.name!r} no "
                f"shape in {methods}, so that it is empty; write "
                f"top[{place}].reshape(...) in its method reshape"
            )
        return ""

    @contextmanager
    def _naming(self, step: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._told(error, step)
            raise

    def _told(self, error: Exception, step: str) -> None:
        """Say in an error of which layer it is; its type stays."""
        if isinstance(error, AttributeError) and not hasattr(self.layer, step):
            more = "; write it"
            if step == "backward":
                more += ", or ask for no gradient: propagate_down, lr_mult, "
                more += "force_backward and loss_weight decide"
            raise UnsupportedError(
                f"class {self._kind} has no method {step!r}, which is asked for here"
                f"{more}",
                layer=self._label,
            ) from None
        error.add_note(f"{self._label}: raised in {self._kind}.{step}")


def _maybe(mirror: Mirror, array: Any) -> HostView | None:
    return None if array is None else mirror.view(array)
