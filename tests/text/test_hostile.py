"""Large, broken and hostile files end in a clear error, soon and in little memory."""

from __future__ import annotations

import random
import re
import resource
import subprocess
import sys
from contextlib import suppress

import pytest

import netspec
from netspec.errors import NetspecError, SpecError
from netspec.schema import NetParameter
from netspec.schema.wire import scan
from netspec.text import parse
from netspec.text.checks import MAX_ITEMS
from netspec.text.messages import MAX_LAYERS
from tests.patience import PATIENCE_S, processor_seconds
from tests.test_architecture import ROOT

MIB = 1 << 20
BASE_BYTES = 400 * MIB  # Python, its libraries, and what any net takes
BYTES_A_BYTE = 12  # of the file
PROCESSOR_S = 20  # each takes less than three

LAYER = 'layer { name: "a" type: "ReLU" bottom: "d" top: "d" }\n'


def laughs(inner: str, levels: int = 12, uses: int = 10) -> str:
    """Modules that use each other ten times each."""
    text = f'module {{ name: "M0" {inner} }}\n'
    for level in range(1, levels):
        use = f'layer {{ module: "M{level - 1}" }} '
        text += f'module {{ name: "M{level}" {use * uses} }}\n'
    return text + f'layer {{ module: "M{levels - 1}" }}'


def doubling(declared: str, given: str, end: str = 'layer { name: "x" }') -> str:
    """Modules that pass on a value that doubles at each level."""
    text = f'module {{ name: "M0" required: "a" {end} }}\n'
    for level in range(1, 40):
        text += (
            f'module {{ name: "M{level}" required: "a" layer {{ '
            f'module: "M{level - 1}" values {{ {given} }} }} }}\n'
        )
    return text + f'layer {{ module: "M39" values {{ {declared} }} }}'


def conv(number: int) -> str:
    return (
        f'layer {{ name: "c{number}" type: "Convolution" bottom: "a" top: "b"\n'
        f"  convolution_param {{ num_output: 8 kernel_size: 3 }} }}\n"
    )


def many(text: str, size: int) -> str:
    return text * (size // len(text))


# What is in the file, and what is said of it.
TEXTS = {
    "100 MB of layers": (lambda: many(conv(1), 100_000_000), "use the binary form"),
    "200 MB of spaces": (lambda: " " * 200_000_000, "use the binary form"),
    "empty layers": (lambda: "layer{}" * 2_100_000, "fields and list items, too many"),
    "a long list": (
        lambda: "input_dim: [" + "1," * 2_100_000 + "1]",
        "more than 2,000,000 fields and list items",
    ),
    "some empty layers": (
        lambda: "layer{}" * 100_000,
        r"100,000 mistakes: \(1\) layer '' \(\): unknown layer .*and 99,980 more",
    ),
    "bottoms of nowhere": (
        lambda: "".join(
            f'layer {{ name: "l{i}" type: "ReLU" bottom: "b{i}" top: "t{i}" }}'
            for i in range(20_000)
        ),
        r"20,000 mistakes: \(1\) .*layer 'l0' .* and 19,980 more",
    ),
    "layers in layers": (lambda: "layer { " * 100_000, "no field 'layer'"),
    "open braces": (lambda: "{" * 100_000, "1:1: Expected identifier"),
    "open brackets": (lambda: "input_dim: " + "[" * 100_000, "Couldn't parse|Expected"),
    "an endless string": (
        lambda: 'name: "' + "x" * 30_000_000,
        "String missing ending quote",
    ),
    "escaped quotes": (
        lambda: 'name: "' + '\\"' * 5_000_000,
        "1:7: the string has no closing quote",
    ),
    "many quotes": (lambda: "name: \\" + "'" * 5_000_000, "Expected|quote"),
    "an endless number": (lambda: "input_dim: " + "9" * 10_000_000, "range|integer"),
    "an endless name": (lambda: "x" * 20_000_000 + ": 3", "NetParameter has no field"),
    "NUL": (lambda: "name: '\0'", "1:8: byte 0x00 is not UTF-8 text"),
    "NUL far in": (
        lambda: "# " + "x" * 9000 + "\nname: '\0' nmae: 3",
        "no field 'nmae'",
    ),
    "NUL in a field": (lambda: "#" * 9000 + "\n\0: 3", "Expected identifier"),
    "bad UTF-8": (
        lambda: b"name: '\xff\xfe'",
        "1:7: bytes in a string are not UTF-8; save the file",
    ),
    "bad UTF-8 in a module": (
        lambda: b"module { name: 'M' layer {\nname: '\xff' } } layer { module: 'M' }",
        "2:7: byte 0xff in a string is not UTF-8",
    ),
    "UTF-16": (lambda: LAYER.encode("utf-16"), "is this a binary file, or UTF-16?"),
    "modules in modules": (lambda: "module { " * 100_000, "more than 100 deep"),
    "braces in a module": (
        lambda: "module { } layer " + "{ a " * 100_000,
        "more than 100 deep",
    ),
    "escaped quotes in a module": (
        lambda: 'module { name: "' + '\\"' * 4_000_000,
        "the string has no closing quote",
    ),
    "20 MB of modules": (
        lambda: many('module { name: "M" }\n', 20_000_000),
        "may have 8,388,608 characters",
    ),
    "modules of one name": (lambda: 'module { name: "M" }\n' * 20_000, "is there"),
    "laughs": (lambda: laughs(LAYER, 4), "bottom 'd' is neither"),
    "laughs that are right": (
        lambda: laughs('layer { name: "x" top: "y" }'),
        "write out more than 200,000 layers and fields",
    ),
    "empty laughs": (lambda: laughs(""), "write out more than 200,000 layers"),
    "laughs of text": (
        lambda: doubling('a: "x"', 'a: "${a}${a}"'),
        "with its values filled in, this text has more than 65,536 characters",
    ),
    "laughs of lists": (
        lambda: doubling("a: 1", "a: [a, a]"),
        "write out more than 200,000",
    ),
    "laughs of messages": (
        lambda: doubling("a { x: 1 }", "a { x: a x: a }", "layer { param: a }"),
        "flat net has more than 8,388,608 characters",
    ),
    "long names of uses": (
        lambda: (
            "".join(
                f'module {{ name: "M{i}" layer {{ name: "{"n" * 100}" '
                f'module: "M{i + 1}" }} }}\n'
                for i in range(20)
            )
            + 'module { name: "M20" layer { name: "x" } } layer { module: "M0" }'
        ),
        "has 2,021 characters; at most 1,000",
    ),
    "unknown words": (
        lambda: (
            'module { name: "M" optional: ["a'
            + '", "a'.join(map(str, range(100_000)))
            + '"] layer { name: zzz } } '
            + 'layer { module: "M" }' * 1000
        ),
        "'zzz' is no value of module 'M'",
    ),
}


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, data: bytes, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return varint(number << 3 | 2) + varint(size) + data


def nested(number: int, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = field(number, data)
    return data


BROKEN = "is not a binary NetParameter, or was cut short"
BINARIES = {
    "empty layers": (
        lambda: field(100, b"") * 10_000_000,
        f"has more than {MAX_LAYERS:,} layers",
    ),
    "a lying length": (lambda: field(100, b"x", 1 << 31), BROKEN),
    "a lying length in a layer": (lambda: field(100, field(7, b"", 1 << 40)), BROKEN),
    "a negative length": (lambda: field(100, b"", (1 << 64) - 1), BROKEN),
    "a lying list": (
        lambda: field(100, field(7, field(7, field(1, b"\1", 1 << 30)))),
        BROKEN,
    ),
    "a number without an end": (lambda: b"\xff" * 20_000_000, BROKEN),
    "half a float": (lambda: field(100, field(7, field(5, b"abc"))), BROKEN),
    "groups": (lambda: b"\xa3\x06" * 100_000, BROKEN),
    "noise": (lambda: random.Random(5).randbytes(5_000_000), BROKEN),
    "a name that is no UTF-8": (
        lambda: field(100, field(1, b"\xff" * 100) + field(2, b"ReLU")),
        r"the text of layer\[0\].name is not UTF-8",
    ),
    "a shape that overflows": (
        lambda: field(
            100,
            field(2, b"Input") + field(4, b"x")
            + field(143, field(1, field(1, varint((1 << 63) - 1) * 3))),
        ),
        "sizes must not be negative and their product at most 2147483647",
    ),
}  # fmt: skip


def limited(bytes_: int):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S))

    return limit


def said_of(path, warned=0) -> str:
    """What the command says, in the time and memory that such a file may take.

    warned: how many warnings stand before the error.
    """
    limit = BASE_BYTES + BYTES_A_BYTE * path.stat().st_size
    done = subprocess.run(
        [sys.executable, "-m", "netspec.summary", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        preexec_fn=limited(limit),
    )
    assert done.returncode == 1, done.stderr[-500:]
    assert done.stderr.count("SpecWarning: ") == warned
    assert done.stderr.startswith("error: ") or warned
    assert done.stderr.count("\nerror: ") == (1 if warned else 0)
    assert done.stderr.count("\n") == 1 + warned
    assert len(done.stderr) < 10_000
    assert "internal error" not in done.stderr
    assert "out of memory" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text(name, tmp_path):
    make, said = TEXTS[name]
    path = tmp_path / "net.prototxt"
    text = make()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert re.search(said, said_of(path))
    path.unlink()


@pytest.mark.parametrize("name", BINARIES)
def test_hostile_binary_files(name, tmp_path):
    make, said = BINARIES[name]
    path = tmp_path / "net.caffemodel"
    path.write_bytes(make())
    assert re.search(said, said_of(path))
    path.unlink()


def test_messages_in_messages(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(nested(100, 5000))
    said = said_of(path, warned=1)
    assert "no schema that is known here has all its fields" in said
    assert "unknown layer type" in said


@pytest.mark.parametrize("name", BINARIES)
def test_hostile_weights(name):
    data = BINARIES[name][0]()[:2_000_000]
    with processor_seconds(PROCESSOR_S), suppress(SpecError):
        for layer in scan(data):
            assert sum(blob.count for blob in layer.blobs) <= len(data)


def test_large_text_that_is_right_is_read():
    count = 4000
    net = parse("".join(map(conv, range(count))), NetParameter)
    assert len(net.layer) == count
    long = "#" + "," * (MAX_ITEMS // 2) + f"\nname: '{'x' * 5_000_000}'"
    assert len(parse(long, NetParameter).name) == 5_000_000


# ---------------------------------------------------------------- sizes

HUGE = 4294967295  # the largest number of a field such as num_output
SIZES = "sizes must not be negative and their product at most 2147483647"


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            "Convolution convolution_param { num_output: 2147483648 kernel_size: 1 }",
            SIZES,
        ),
        ("Convolution convolution_param { num_output: %d kernel_size: 3 }", SIZES),
        (
            "Convolution convolution_param { num_output: 4 kernel_size: %d }",
            "the kernel",
        ),
        (
            "Convolution convolution_param { num_output: 4 kernel_size: 3 pad: %d }",
            SIZES,
        ),
        (
            "Convolution convolution_param { num_output:4 kernel_size: 3 dilation:99 }",
            r"the kernel covers \(199, 199\) pixels",
        ),
        (
            "Convolution convolution_param { num_output: 4 kernel_size: 1 group: %d }",
            "expected a divisor",
        ),
        (
            "Convolution convolution_param { num_output: 4 kernel_size: -1 }",
            "Value out of range: -1",
        ),
        ("Convolution convolution_param { num_output: 4294967296 }", "out of range"),
        (
            "Deconvolution convolution_param { num_output: 2 kernel_size: %d pad: 9 }",
            SIZES,
        ),
        ("Pooling pooling_param { kernel_size: %d }", "window|kernel"),
        ("Pooling pooling_param { kernel_size: 3 pad: %d }", "must be smaller than"),
        ("InnerProduct inner_product_param { num_output: %d }", SIZES),
        ("Embed embed_param { num_output: %d input_dim: %d }", SIZES),
        ("Tile tile_param { tiles: 2147483647 }", SIZES),
        ("Tile tile_param { tiles: -3 }", "at least 1"),
        ("Reshape reshape_param { shape { dim: [-1, 99999999999999] } }", "divide"),
        ("Reshape reshape_param { shape { dim: [4294967296, 4294967296] } }", "holds"),
        ("SPP spp_param { pyramid_height: %d }", "reduce pyramid_height"),
        ("LRN lrn_param { local_size: 4294967294 }", "odd"),
        ("Im2col convolution_param { kernel_size: 9 pad: 999999999 }", SIZES),
        ("Flatten flatten_param { axis: 2147483647 }", "expected a value from -4 to 3"),
        ("Reduction reduction_param { axis: -2147483648 }", "expected a value from"),
        ("Slice slice_param { slice_point: %d }", "slice_point"),
    ],
)
def test_numbers_that_overflow(layer, said):
    type_, options = layer.split(" ", 1)
    text = f"""
    layer {{ name: "d" type: "Input" top: "d"
            input_param {{ shape {{ dim: [2, 3, 9, 8] }} }} }}
    layer {{ name: "x" type: "{type_}" bottom: "d" top: "x" {options} }}
    """
    with pytest.raises(NetspecError, match=said):
        netspec.summarize(text.replace("%d", str(HUGE)))


@pytest.mark.parametrize(
    "dims",
    ["1, -3, 9, 8", "65536, 65536", "9223372036854775807, 2", "-9223372036854775808"],
)
def test_shapes_that_overflow(dims):
    text = f'type: "Input" top: "d" input_param {{ shape {{ dim: [{dims}] }} }}'
    with pytest.raises(SpecError, match=SIZES):
        netspec.summarize(f"layer {{ {text} }}")
