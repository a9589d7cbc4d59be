"""The front door: `NetSpec`, and `load` for nets that exist.

A `NetSpec` is a `Folder` of names from `netspec.language`, with one line to each thing
that one can do with a net.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netspec import forks
from netspec.errors import SpecError
from netspec.files import is_file
from netspec.formats import other_format, register_format
from netspec.language.calls import Top
from netspec.language.folder import Folder
from netspec.reading.loaded import LoadedFolder


class NetSpec(Folder):
    """A net under construction: every top gets the name under which it is assigned.

        n = NetSpec()
        n.data, n.label = L.Data(source="train_lmdb", batch_size=64, ntop=2)
        n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5)
        n["conv1/relu"] = L.ReLU(n.conv1, in_place=True)
        print(n.to_proto())

    A name assigned again replaces the top, unless the rules of the two layers keep them
    apart: a Data layer for TRAIN and one for TEST both stay.

    A NetSpec assigned to a name of another one is a folder: the names in it, and the
    `name=` of its layers, get that name and a slash in front. Passed to a layer
    function, it stands for its top named `output`.

    The one result of a module gives the module its path (see `netspec.module`).

    fields: what a net has beside its layers: `NetSpec("net", force_backward=True)`.

    Called with tops, a spec is a block: its layers once more, with its inputs bound.

    A blob that no layer reads is an output of the net. Where the net has a loss, an
    output that is neither a loss, a measure nor a prediction gives a `SpecWarning`.
    """

    def __call__(
        self, *inputs: Top | Folder, shared: bool = False, **named: Top | Folder
    ) -> NetSpec:
        """Return the layers once more, as a folder, with `inputs` for its inputs.

        The inputs are the tops of Input layers in order (of data layers where there
        are none), or any of both by name. shared: all calls share their parameters;
        without it each has its own.
        """
        from netspec.reading.blocks import instance

        result: NetSpec = instance(self, inputs, named, shared=shared, kind=LoadedSpec)
        return result

    def to_python(self) -> str:
        """Return Python source that makes this net: see `netspec.to_python`."""
        from netspec.to_python.source import python_source

        return python_source(self.to_proto())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return what a notebook shows: a drawing, and the text.

        A spec that cannot be written is drawn with what is wrong in red, and the text
        says why.
        """
        from netspec.draw.scene import Scene, View

        said = repr(self)
        bundle = {"text/plain": said}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                scene = Scene(self, View())
                bundle["image/svg+xml"] = scene.svg()
                error = scene.error
            except SpecError as problem:
                error = problem
        if error is not None:
            bundle["text/plain"] = f"{said}\n{error}"
        return bundle


class LoadedSpec(LoadedFolder, NetSpec):
    """A net that was read, or a block made of one, as a `NetSpec`."""


def load(
    net: Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batch_size: int | None = None,
    fork: str | None = None,
    strict: bool = False,
) -> NetSpec:
    """Return the spec of a net that exists: a file, text, or a message.

    net: the path of a prototxt, binary or ONNX file, or of a model file `.py`, which is
    run; prototxt text, a `NetParameter`, or a spec. Old formats are upgraded as Caffe
    does. shapes, batch_size: of the inputs of an ONNX file; see `netspec.from_onnx`.
    fork: the fork of Caffe that a binary file
    is from, where its fields do not tell; see `netspec.forks.use`. strict: refuse
    fields that are not known here, naming all; without it they are kept, and written
    as they stand.

    A top has the name of its blob, one that a layer makes in place the name of that
    layer. Layers stay in their order, so that what was not changed is written back as
    it was: `load(net).to_proto()` is the upgraded net.

    A name assigned again takes the place of the old layer, and what read the old top
    reads the new one. What read an in-place layer that is deleted reads what it did.
    Called, the spec is a block: `n.tower = load("tower.prototxt")(n.data)`.

    Raises `FileError` for a file that cannot be read, `TextError` with line and column
    for bad text, `SpecError` naming the layers that read blobs which no layer makes,
    and what `from_onnx` raises.
    """
    from netspec.reading.load import load as read
    from netspec.text import is_strict, refusing

    if shapes or batch_size is not None:
        other = other_format(net)
        if other is None:
            raise SpecError(
                "shapes and batch_size are for .onnx files; the inputs of other nets "
                "are layers, to be assigned again: n.data = L.Input(shape=...)"
            )
        net = other(os.fspath(net), shapes=shapes, batch_size=batch_size)
    schema = forks.use(fork) if fork is not None else contextlib.nullcontext()
    with schema, refusing(strict or is_strict()):
        if isinstance(net, str | os.PathLike) and os.fspath(net).endswith(".py"):
            from netspec.commands.model_files import load_model

            net = load_model(os.fspath(net))
        return read(net, LoadedSpec)


def save(net: Any, path: str | os.PathLike[str]) -> None:
    """Write a net in the current form, whole or not at all.

    net: what `load` takes, such as a spec. path: ends in `.prototxt` for text, which
    has no values of parameters, or in `.caffemodel` or another end of binary files.

    `python -m netspec.export` has options beside: phases, nets for use, other readers.

    Raises `FileError` for a file that cannot be written, `SpecError` for a net that
    cannot be, and for the end of a file that another function writes.
    """
    from netspec.nets.current import current
    from netspec.nets.filter import drop_blobs
    from netspec.text import write_message
    from netspec.text.messages import is_binary

    path = Path(path)
    others = {".onnx": "netspec.to_onnx(net, path=...)", ".py": "NetSpec.to_python()"}
    end = path.suffix
    if end in others:
        raise SpecError(
            f"{path}: netspec.save writes prototxt and caffemodel; for {end} there is "
            f"{others[end]}"
        )
    if isinstance(net, str | os.PathLike) and os.fspath(net).endswith(".py"):
        net = load(net)
    binary = is_binary(path)
    message = current(net, values=binary)
    if not binary:
        message = drop_blobs(message)
    source = None
    if isinstance(net, str | os.PathLike) and is_file(os.fspath(net)):
        source = Path(net)
    write_message(path, message, source=source)


def _read_onnx(path: str, **options: Any) -> Any:
    from netspec.onnx.reading import from_onnx

    return from_onnx(path, **options)


register_format(".onnx", _read_onnx)
