"""Layers that nobody here can read: boxes with bottoms and tops.

A layer is opaque if its type is of another fork, or somebody's own, or if its type is
known but its options hold fields that are not. It is drawn and summarized all the same.
What it makes has the shape that is given for it; in place, top and bottom share their
values, so that there are as many and the shape is taken to stay. Any other is unknown,
and so is what the layer learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from netspec.errors import UnknownShape
from netspec.ops.base import Op, ParamDef, Shape, check_count, constant, label
from netspec.ops.families import is_known_type
from netspec.schema import BlobProto, LayerParameter

# Fields of forks that change no number: where and by whose code a layer runs, how many
# threads read its data, what is printed; and NVCaffe's types of numbers, which are here
# those of `--precision` for all layers.
HARMLESS = frozenset(
    (
        "backward_engine",
        "backward_math",
        "backward_type",
        "cache",
        "conv_algorithm",
        "conv_algos_override",
        "cudnn_convolution_algo_seeker",
        "cudnn_math_override",
        "debug",
        "debug_dtype",
        "device",
        "disk_reader_threads",
        "engine",
        "forward_engine",
        "forward_math",
        "forward_type",
        "multi_gpu_testing",
        "parser_threads",
        "precache",
        "prefetch",
        "print_info",
        "snapshot_before_train",
        "snapshot_log",
        "solver_data_type",
        "thread_id",
        "threads",
        "use_gpu_transform",
        "verbose",
        "visualize",
    )
)
COMMON = ("loss_param", "transform_param")  # options of layers of any type


@dataclass(frozen=True, kw_only=True)
class Opaque(Op):
    """A layer of which nothing is known but its bottoms, its tops and their shapes.

    It may read all of them for its gradient. `params` are those whose values the layer
    holds, as in a caffemodel; else nobody knows them.
    """

    in_place: ClassVar[bool] = True

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """All bottoms but those in place, of which the top is left."""
        return tuple(
            n for n in range(len(self.bottoms)) if not is_over(self.layer, n, n)
        )

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """All tops."""
        return tuple(range(len(self.tops)))


Opaque.type = "(opaque)"  # no type that a file can name, so that it is not registered


def is_opaque(layer: LayerParameter) -> bool:
    """Tell whether a layer cannot be read: it has another type, or unknown options."""
    return not is_known_type(layer.type) or bool(unread_options(layer))


def unread_options(layer: LayerParameter) -> list[tuple[str, str]]:
    """Return the options that are not known here: message, and field as text.

    Those of fillers, of losses and of how data are transformed change no shape, and
    `HARMLESS` ones nothing at all.
    """
    return [
        (message, text)
        for message, text in kept_options(layer)
        if field_name(text) not in HARMLESS
    ]


def kept_options(layer: LayerParameter) -> list[tuple[str, str]]:
    """Return all options that are kept as text, those without harm as well."""
    found = []
    for field, value in layer.ListFields():
        if field.name.endswith("_param") and field.name not in COMMON:
            message: Any = field.message_type
            found += [(str(message.name), str(text)) for text in value.unknown_fields]
    return found


def field_name(text: str) -> str:
    """Return the name of a field that is kept as text, `name: value` or `name { }`."""
    return text.split(":")[0].split("{")[0].strip()


def is_over(layer: LayerParameter, bottom: int, top: int) -> bool:
    """Tell whether a top is a bottom in place."""
    same = bottom == top < min(len(layer.bottom), len(layer.top))
    return same and bool(layer.bottom[bottom] == layer.top[top])


def opaque_shapes(
    layer: LayerParameter,
    bottoms: Sequence[Shape | None],
    given: Mapping[str, Sequence[int]],
) -> tuple[Shape | None, ...]:
    """Return the shapes of the tops of an opaque layer, as far as they are known."""
    shapes: list[Shape | None] = []
    for place, top in enumerate(layer.top):
        if is_over(layer, place, place) and bottoms[place] is not None:
            shapes.append(bottoms[place])
        elif top in given:
            shapes.append(tuple(int(size) for size in given[top]))
            check_count(layer, f"top {place}", shapes[-1] or ())
        else:
            shapes.append(None)
    return tuple(shapes)


def opaque_op(
    layer: LayerParameter,
    bottoms: Sequence[Shape],
    given: Mapping[str, Sequence[int]],
    why: str,
) -> Opaque:
    """Return an opaque layer with its shapes; `why` says why it cannot be read.

    Raises `UnknownShape` where that of a top is not known.
    """
    tops = opaque_shapes(layer, bottoms, given)
    known = tuple(shape for shape in tops if shape is not None)
    if len(known) < len(tops):
        first = layer.top[tops.index(None)]
        raise UnknownShape(
            f"{why}, so that nobody knows the shape of its top "
            f"{first!r}; give it, as in --shape {first}=N,C,H,W on the command line or "
            f"shapes={{{first!r}: (n, c, h, w)}}",
            layer=label(layer),
        )
    params = tuple(ParamDef(blob_shape(blob), constant()) for blob in layer.blobs)
    return Opaque(layer=layer, bottoms=tuple(bottoms), tops=known, params=params)


def blob_shape(blob: BlobProto) -> Shape:
    """Return the shape a BlobProto states, in the new form or the old one of 4 axes."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    return (blob.num, blob.channels, blob.height, blob.width)
