"""Every kind of file that is read here: whole ones, how they break, what reads them.

A kind is run in an empty folder of its own, in which `run` finds its damaged file. What
it raises is the finding; `NetspecError` is the only thing that it may.
"""

from __future__ import annotations

import gzip
import io
import struct
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import netspec
import runtime
from netspec.draw.scene import Scene, View
from netspec.errors import NetspecError, UnsupportedError
from netspec.schema import TEST, TRAIN, BlobProto, Datum, NetParameter
from netspec.text import parse, write_message
from runtime.data.convert import read_idx
from tools.fuzz import mutations, nets
from tools.fuzz.weights import each, halved, run_weights, saved

Run = Callable[[bytes], None]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    whole: makes files that are right. mutate: breaks one. prepare: writes what else the
    folder needs, once. run: writes the file and reads it in all ways.
    """

    name: str
    whole: Callable[[], Sequence[bytes]]
    run: Run
    mutate: Callable[..., bytes] = mutations.of_bytes
    prepare: Callable[[], None] = field(default=lambda: None)


def damaged(kind: Kind, whole: Sequence[bytes], seed: int) -> bytes:
    """Return file number `seed` of a kind."""
    rng = np.random.default_rng([seed, *kind.name.encode()])
    return kind.mutate(whole[seed % len(whole)], rng, whole)


def run_quietly(kind: Kind, data: bytes) -> bool:
    """Read a file; tell whether it was refused. What is no `NetspecError` is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            kind.run(data)
        except NetspecError:
            return True
    return False


# ---------------------------------------------------------------- nets and solvers


def _pass(net: Any, phase: int) -> None:
    try:
        built = runtime.Net(net, phase, backend="portable")
    except UnsupportedError:
        return  # a layer type that can be written, but has no arithmetic
    try:
        built.forward()
        with suppress(NetspecError):
            built.backward()
    finally:
        built.close()


def run_net(data: bytes, name: str = "net.prototxt") -> None:
    """Read a net, write it again, sum it up, draw it, and run it in both phases."""
    Path(name).write_bytes(data)
    spec: list[Any] = []
    each(
        lambda: spec.append(netspec.load(name)),
        lambda: [one.to_proto() for one in spec],
        lambda: [one.to_python() for one in spec],
        lambda: str(netspec.summarize(name, TRAIN)),
        lambda: netspec.deploy(name),
        lambda: Scene(name, View()).svg(),
        lambda: Scene(name, View(phase="TEST")).dot(),
        lambda: _pass(name, TRAIN),
        lambda: _pass(name, TEST),
    )


def run_solver(data: bytes) -> None:
    """Read a solver and train for two iterations."""
    Path("solver.prototxt").write_bytes(data)
    runtime.get_solver("solver.prototxt", backend="portable").step(2)


def _net_texts() -> list[bytes]:
    all_nets = (nets.CONVOLUTIONAL, nets.SHAPED, nets.OLD, nets.BOXES, nets.LEARNING)
    return [text.encode() for text in all_nets]


def _solver_texts() -> list[bytes]:
    return [text.encode() for text in nets.SOLVERS]


def _learning_net() -> None:
    Path("net.prototxt").write_text(nets.LEARNING)


# ---------------------------------------------------------------- weights and states


def _solver(name: str) -> Any:
    form = "HDF5" if name.endswith("h5") else "BINARYPROTO"
    return runtime.get_solver(nets.ADAM % form, backend="portable")


def _states(name: str) -> list[bytes]:
    _learning_net()
    solver = _solver(name)
    solver.step(1)
    return [Path(solver.snapshot().state).read_bytes()]


def run_state(name: str, data: bytes) -> None:
    """Restore a solver."""
    Path(name).write_bytes(data)
    _solver(name).restore(name)


# ---------------------------------------------------------------- data


def data_net(kind: str, param: str, transform: str = "", *, label: bool = True) -> str:
    """Return a net that reads data of a kind."""
    top = 'top: "label"' if label else ""
    text = nets.DATA.format(kind=kind, param=param, label=top, transform=transform)
    return text.replace("transform_param {  }", "")


def run_data(name: str, net: str, data: bytes) -> None:
    """Read three batches of a damaged file."""
    Path(name).write_bytes(data)
    built = runtime.Net(net, TRAIN, backend="portable")
    try:
        for _ in range(3):
            built.forward()
    finally:
        built.close()


def _datums(count: int = 40) -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        size = 400 if number % 7 == 0 else 8
        pixels = rng.integers(0, 256, (3, size // 8, 8), dtype=np.uint8)
        datum = Datum(channels=3, height=size // 8, width=8, label=number % 3)
        datum.data = pixels.tobytes() * (4 if number % 9 == 0 else 1)
        datum.height *= 4 if number % 9 == 0 else 1
        found.append(datum.SerializeToString())
    return found


def _database(items: Sequence[bytes]) -> bytes:
    import lmdb

    with lmdb.open("whole", map_size=1 << 24) as env, env.begin(write=True) as txn:
        for number, item in enumerate(items):
            txn.put(b"%08d" % number, item)
        for number in range(0, len(items), 11):
            txn.delete(b"%08d" % number)
    found = Path("whole/data.mdb").read_bytes()
    Path("whole/data.mdb").unlink()
    return found


def _databases() -> list[bytes]:
    return [_database(_datums()), _database(_datums(6) * 60)]


LMDB = 'data_param { source: "data.mdb" backend: LMDB batch_size: 20 }'


def run_datum(data: bytes) -> None:
    """Read a damaged value of a database that is whole."""
    name = "datum.mdb"
    _write_one(name, data)
    built = None
    net = data_net("Data", LMDB.replace("data.mdb", name).replace("20", "1"))
    try:
        built = runtime.Net(net, TRAIN, backend="portable")
        built.forward()
    finally:
        if built:
            built.close()


def _write_one(name: str, value: bytes) -> None:
    import lmdb

    Path(name).unlink(missing_ok=True)
    options: dict[str, Any] = {
        "subdir": False,
        "map_size": 1 << 20,
        "sync": False,
        "lock": False,
    }
    with lmdb.open(name, **options) as env, env.begin(write=True) as txn:
        txn.put(b"0", value)


def _pictures() -> list[bytes]:
    from PIL import Image

    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (13, 11, 3), dtype=np.uint8)
    found = []
    for form, more in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        *((name, {}) for name in ("PNG", "BMP", "GIF", "TIFF", "WEBP")),
    ):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form, **more)
        found.append(file.getvalue())
    return found


def _encoded() -> list[bytes]:
    items = [Datum(data=data, encoded=True, label=1) for data in _pictures()]
    items += [Datum.FromString(item) for item in _datums(3)]
    items.append(Datum(channels=1, height=2, width=2, float_data=[1, 2, 3, 4]))
    return [item.SerializeToString() for item in items]


def _hdf5_files() -> list[bytes]:
    import h5py

    values = np.arange(11 * 6, dtype=np.float64).reshape(11, 2, 3)
    found = []
    for options in ({}, {"chunks": (4, 2, 3), "compression": "gzip", "shuffle": True}):
        file = io.BytesIO()
        with h5py.File(file, "w") as written:
            written.create_dataset("data", data=values, **options)
            written["label"] = np.arange(11) % 2
            written["more/deep"] = h5py.SoftLink("/label")
        found.append(file.getvalue())
    return found


HDF5 = 'hdf5_data_param { source: "list.txt" batch_size: 4 shuffle: true }'
IMAGES = 'image_data_param { source: "images.txt" batch_size: 2 %s }'


def _hdf5_list() -> None:
    Path("list.txt").write_text("data.h5\n")


def _image_list() -> None:
    Path("images.txt").write_text("picture 0\npicture 1\n")
    Path("picture").write_bytes(_pictures()[2])
    Path("data.h5").write_bytes(_hdf5_files()[0])


def _means() -> list[bytes]:
    mean = np.ones((3, 8, 8), np.float32)
    old = BlobProto(num=1, channels=3, height=8, width=8, data=mean.ravel())
    new = BlobProto(double_data=mean.ravel())
    new.shape.dim.extend(mean.shape)
    return [old.SerializeToString(), new.SerializeToString()]


def _mean_database() -> None:
    item = Datum(channels=3, height=8, width=8, data=bytes(192))
    _write_one("mean.mdb", item.SerializeToString())


MEAN = data_net(
    "Data",
    LMDB.replace("data.mdb", "mean.mdb").replace("20", "1"),
    'mean_file: "mean.binaryproto" scale: 0.5 crop_size: 4',
)


def _idx_files() -> list[bytes]:
    plain = struct.pack(">4I", 0x803, 3, 4, 5) + bytes(range(60))
    return [plain, gzip.compress(plain, mtime=0)]


def _labels() -> None:
    Path("labels").write_bytes(struct.pack(">2I", 0x801, 3) + b"\0\1\2")


def run_idx(data: bytes) -> None:
    """Read images in MNIST's format."""
    Path("images").write_bytes(data)
    read_idx("images", "labels")


def _binary_nets() -> list[bytes]:
    found = []
    for text in (nets.CONVOLUTIONAL, nets.SHAPED, nets.OLD):
        message = parse(text, NetParameter)
        write_message("net.binaryproto", message)
        found.append(Path("net.binaryproto").read_bytes())
    return found


KINDS = {
    kind.name: kind
    for kind in (
        Kind("net, tokens", _net_texts, run_net, mutations.of_text),
        Kind("net, bytes", _net_texts, run_net),
        Kind(
            "net, binary",
            _binary_nets,
            partial(run_net, name="net.binaryproto"),
        ),
        Kind(
            "net with modules, tokens",
            lambda: [nets.MODULES.encode()],
            run_net,
            mutations.of_text,
        ),
        Kind("net with modules, bytes", lambda: [nets.MODULES.encode()], run_net),
        Kind(
            "solver, tokens",
            _solver_texts,
            run_solver,
            mutations.of_text,
            _learning_net,
        ),
        Kind("solver, bytes", _solver_texts, run_solver, prepare=_learning_net),
        Kind(
            "caffemodel",
            partial(saved, "w.caffemodel"),
            partial(run_weights, "w.caffemodel"),
        ),
        Kind(
            "caffemodel.h5",
            partial(saved, "w.caffemodel.h5"),
            partial(run_weights, "w.caffemodel.h5"),
        ),
        Kind(
            "caffemodel of 16 bits",
            halved,
            partial(run_weights, "w.caffemodel"),
        ),
        Kind(
            "safetensors",
            partial(saved, "w.safetensors"),
            partial(run_weights, "w.safetensors"),
        ),
        Kind("npz", partial(saved, "w.npz"), partial(run_weights, "w.npz")),
        Kind(
            "solverstate",
            partial(_states, "x.solverstate"),
            partial(run_state, "x.solverstate"),
            prepare=_learning_net,
        ),
        Kind(
            "solverstate.h5",
            partial(_states, "x.solverstate.h5"),
            partial(run_state, "x.solverstate.h5"),
            prepare=_learning_net,
        ),
        Kind(
            "LMDB",
            _databases,
            partial(run_data, "data.mdb", data_net("Data", LMDB, "crop_size: 1")),
            mutations.of_lmdb,
        ),
        Kind("Datum", _encoded, run_datum),
        Kind(
            "HDF5 data",
            _hdf5_files,
            partial(run_data, "data.h5", data_net("HDF5Data", HDF5)),
            prepare=_hdf5_list,
        ),
        Kind(
            "list of HDF5 files",
            lambda: [b"data.h5\n", b"data.h5\ndata.h5\n"],
            partial(run_data, "list.txt", data_net("HDF5Data", HDF5)),
            prepare=_image_list,
        ),
        Kind(
            "list of images",
            lambda: [b"picture 0\npicture 1\n", b"picture\t-3\r\n"],
            partial(run_data, "images.txt", data_net("ImageData", IMAGES % "")),
            prepare=_image_list,
        ),
        Kind(
            "image",
            _pictures,
            partial(
                run_data,
                "picture",
                data_net("ImageData", IMAGES % "new_height: 5 new_width: 4"),
            ),
            prepare=_image_list,
        ),
        Kind(
            "mean",
            _means,
            partial(run_data, "mean.binaryproto", MEAN),
            prepare=_mean_database,
        ),
        Kind("idx", _idx_files, run_idx, prepare=_labels),
    )
}
