"""What is asked of cuBLASLt, against a library of our own that notes and does it."""

import ctypes
import gc
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from netspec.errors import MachineError, UnsupportedError
from runtime.backends.cuda.machine import cublas as module
from runtime.backends.cuda.machine import library as finding
from runtime.backends.cuda.machine.cublas import Cublas
from runtime.backends.cuda.machine.products import Product
from tests.backends.cuda.products import Example, random_example

SOURCE = Path(__file__).with_name("fake_cublaslt.c")
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
CREATE = re.compile("create|operation|layout|preference|choose")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The file of the library for tests."""
    if COMPILER is None or sys.platform == "win32":
        pytest.skip("no C compiler")
    file = tmp_path_factory.mktemp("fake") / "libfake.so"
    flags = ["-O1", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *flags, SOURCE, "-o", file, "-lm"], check=True)
    return file


@pytest.fixture
def fake(built):
    library = ctypes.CDLL(str(built))
    library.fake_calls.restype = ctypes.c_char_p
    library.fake_calls()
    library.fake_refuse(0)
    library.fake_answers(1)
    return library


def calls(fake):
    """What was called since the last time, a line each."""
    return fake.fake_calls().decode().splitlines()


def run(planned, example, workspace=256, stream=7):
    planned.run(example.addresses, workspace, stream)


@pytest.mark.parametrize("seed", range(60))
def test_the_library_is_asked_for_the_product(fake, seed):
    example = random_example(seed)
    run(Cublas(fake).plan(example.product), example)
    example.check()


def test_what_a_product_is_told_as(fake):
    cublas = Cublas(fake)
    assert calls(fake) == ["create"]
    planned = cublas.plan(
        Product(
            m=3,
            n=5,
            k=7,
            a_rows=False,
            b_rows=False,
            lda=4,
            ldb=8,
            ldc=6,
            batch=2,
            stride_a=28,
            stride_c=18,
            tf32=True,
            epilogue="bias_relu",
            alignment=32,
        )
    )
    assert calls(fake) == [
        "operation compute=77 scale=0",
        "set operation 3=1",
        "set operation 4=1",
        "set operation 7=6",
        "bias at 32",
        "layout type=0 rows=3 columns=7 ld=4",
        "set layout 5=2",
        "set layout 6=28",
        "layout type=0 rows=7 columns=5 ld=8",
        "set layout 5=2",
        "set layout 6=0",
        "layout type=0 rows=5 columns=3 ld=6",
        "set layout 5=2",
        "set layout 6=18",
        "preference",
        f"choose workspace={32 << 20} schemes=2 alignment=32,32,32,32 bias=32",
    ]
    assert planned.product.k == 7  # which kept it alive


@pytest.mark.parametrize(
    "options, wanted",
    [
        (dict(), ["operation compute=68 scale=0", "set operation 7=1"]),
        (dict(tf32=True), ["operation compute=77 scale=0"]),
        (dict(epilogue="relu"), ["set operation 7=2"]),
        (dict(epilogue="bias"), ["set operation 7=4", "bias at 4"]),
        (dict(storage="bfloat16"), ["operation compute=68 scale=0"]),
        (
            dict(storage="bfloat16", out="bfloat16", epilogue="bias"),
            ["layout type=14 rows=5 columns=7 ld=5", "bias at 2"],
        ),
        (
            dict(storage="float16"),
            [
                "layout type=2 rows=7 columns=3 ld=7",
                "layout type=0 rows=5 columns=3 ld=5",
                f"choose workspace={32 << 20} schemes=2 alignment=2,2,4,4 bias=0",
            ],
        ),
    ],
)
def test_options_are_told(fake, options, wanted):
    example = Example(5, (3, 5, 7), **options)
    cublas = Cublas(fake)
    planned = cublas.plan(example.product)
    told = calls(fake)
    assert [line for line in wanted if line in told] == wanted
    run(planned, example)
    example.check()


@pytest.mark.parametrize("epilogue", ["", "bias_relu"])
def test_a_run_is_one_product_and_creates_nothing(fake, epilogue):
    example = Example(6, (3, 5, 7), lead=(2,), epilogue=epilogue)
    planned = Cublas(fake).plan(example.product)
    calls(fake)
    run(planned, example, workspace=512, stream=99)
    told = calls(fake)
    assert planned.workspace_bytes == 4096
    assert told[-1] == "matmul workspace=512 bytes=4096 stream=99"
    if epilogue:
        assert told[:-1] == [f"bias at {example.addresses['bias']}"]
        run(planned, example)  # which is known by now
        told = calls(fake)
    assert told[:-1] == []
    assert not CREATE.match(told[-1])


def test_the_bias_may_move(fake):
    example = Example(7, (2, 4, 3), epilogue="bias", beta=0.0)
    planned = Cublas(fake).plan(example.product)
    run(planned, example)
    before = example.arrays["out"].copy()
    bias = example.arrays["bias"]
    example.arrays["bias"] = moved = bias + np.float32(2)
    run(planned, example)
    np.testing.assert_allclose(example.arrays["out"], before + 2, rtol=1e-5)
    assert moved is not bias


@pytest.mark.parametrize("name", ["a", "b", "out", "bias"])
def test_an_address_that_is_not_aligned_is_refused(fake, name):
    product = Example(8, (4, 4, 4), epilogue="bias").product
    aligned = Product(**{**vars(product), "alignment": 64})
    planned = Cublas(fake).plan(aligned)
    addresses = {"a": 64, "b": 128, "out": 192, "bias": 256}
    calls(fake)
    with pytest.raises(MachineError, match=f"not so aligned: .*'{name}': {2**20 + 32}"):
        planned.run({**addresses, name: 2**20 + 32}, 0, 0)
    assert not any(line.startswith("matmul") for line in calls(fake))


def test_everything_is_destroyed_with_its_owner(fake):
    cublas = Cublas(fake)
    planned = cublas.plan(Example(9, (2, 3, 4)).product)
    calls(fake)
    del planned
    gc.collect()
    told = sorted(calls(fake))
    assert told == [
        *["destroy layout"] * 3,
        "destroy operation",
        "destroy preference",
    ]
    del cublas
    gc.collect()
    assert calls(fake) == ["destroy"]


def test_a_plan_keeps_its_library(fake):
    planned = Cublas(fake).plan(Example(9, (2, 3, 4)).product)
    gc.collect()
    assert "destroy" not in calls(fake)
    assert planned.describe()


def test_a_plan_says_its_algorithm_and_the_library_its_version(fake):
    cublas = Cublas(fake)
    assert cublas.version == "13.1.2"
    planned = cublas.plan(Example(10, (2, 3, 4)).product)
    assert planned.describe() == (
        "algorithm 10, tile 11, parts 12, reduction 13, workspace 4096"
    )


def test_a_product_without_an_algorithm_is_refused(fake):
    cublas = Cublas(fake)
    product = Example(11, (2, 3, 4)).product
    for refuse in (lambda: fake.fake_refuse(15), lambda: fake.fake_answers(0)):
        refuse()
        with pytest.raises(
            UnsupportedError, match=r"\(2, 4\) \(4, 3\).*13.1.2 has no algorithm"
        ):
            cublas.plan(product)
    fake.fake_answers(1)
    cublas.plan(product)


def test_failures_say_what_failed(fake):
    fake.fake_refuse(1)
    with pytest.raises(MachineError, match=r"13.1.2 \(given\) does not start: failed"):
        Cublas(fake)
    cublas = Cublas(fake)
    example = Example(12, (2, 3, 4))
    fake.fake_refuse(7)
    with pytest.raises(MachineError, match="AlgoGetHeuristic: invalid value"):
        cublas.plan(example.product)
    planned = cublas.plan(example.product)
    fake.fake_refuse(13)
    with pytest.raises(MachineError, match=r"\(4, 3\).*cublasLtMatmul: failed"):
        run(planned, example)


# ------------------------------------------------------------ the file


def test_the_library_of_a_package_comes_first(tmp_path, monkeypatch):
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcublasLt.so.13").touch()  # Python 3.12 counts what is there
    info = tmp_path / "nvidia_cublas-13.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: nvidia-cublas\nVersion: 13.1\n")
    (info / "RECORD").write_text("nvidia/cu13/lib/libcublasLt.so.13,,\n")
    toolkit = tmp_path / "toolkit"
    (toolkit / "lib64").mkdir(parents=True)
    (toolkit / "lib64" / "libcublasLt.so.12").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CUDA_PATH", str(toolkit))
    pathfinder = SimpleNamespace(
        load_nvidia_dynamic_lib=lambda stem: SimpleNamespace(
            abs_path=str(tmp_path / f"conda/lib{stem}.so")
        )
    )
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder)
    names = ["libcublasLt.so.13", "libcublasLt.so.12"]
    found = finding.places("cublasLt", (13, 12), ("not-there", "nvidia-cublas"))
    assert [
        os.path.relpath(place, tmp_path) if "/" in place else place for place in found
    ] == [
        "nvidia/cu13/lib/libcublasLt.so.13",
        "toolkit/lib64/libcublasLt.so.12",
        "conda/libcublasLt.so",
        *names,
    ]


def test_names_of_files(monkeypatch):
    assert finding.file_names("cublasLt", (13, 12))[0].startswith("libcublasLt.so.13")
    monkeypatch.setattr(finding.sys, "platform", "win32")
    assert finding.file_names("cublasLt", (13,)) == ["cublasLt64_13.dll"]


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.delenv("CUDA_PATH", raising=False)
    with pytest.raises(
        finding.MissingLibrary, match=r"cuThing is not found \(libthing\.so\.9\); inst"
    ):
        finding.load("cuThing", "thing", (9,), ("no-such-distribution",))


def test_a_file_that_does_not_load_is_told_unless_another_does(built, monkeypatch):
    places = [str(SOURCE), str(built), "libthing.so.9"]
    monkeypatch.setattr(finding, "places", lambda *_: iter(places))
    assert finding.load("cuThing", "thing", (9,), ())[1] == str(built)
    places.remove(str(built))
    with pytest.raises(MachineError, match="cuThing does not load: .*fake_cublaslt.c"):
        finding.load("cuThing", "thing", (9,), ())


# ------------------------------------------------------------ the header


def header_folders():
    """Folders that may have cublasLt.h."""
    for distribution in module.DISTRIBUTIONS:
        try:
            files = metadata.files(distribution) or []
        except metadata.PackageNotFoundError:
            continue
        yield from (f.locate().parent for f in files if f.name == "cublasLt.h")
    nvcc = shutil.which("nvcc")
    roots = [os.environ.get("CUDA_PATH"), nvcc and Path(nvcc).resolve().parents[1]]
    for root in filter(None, [*roots, "/usr/local/cuda"]):
        yield Path(root) / "include"


def test_numbers_and_structures_are_those_of_the_header(tmp_path):
    folders = [folder for folder in header_folders() if folder.is_dir()]
    there = any((folder / "cublasLt.h").exists() for folder in folders)
    if not there or COMPILER is None:
        pytest.skip("no cublasLt.h or no C compiler")
    names = [name for name in vars(module) if re.match("CUBLAS(LT)?_", name)]
    wanted = {name: getattr(module, name) for name in names}
    wanted |= {
        "CUDA_R_32F": module.CUDA_TYPES["float32"],
        "CUDA_R_16F": module.CUDA_TYPES["float16"],
        "CUDA_R_16BF": module.CUDA_TYPES["bfloat16"],
        "CUBLASLT_EPILOGUE_DEFAULT": module.EPILOGUE_NUMBERS[""],
        "CUBLASLT_EPILOGUE_RELU": module.EPILOGUE_NUMBERS["relu"],
        "CUBLASLT_EPILOGUE_BIAS": module.EPILOGUE_NUMBERS["bias"],
        "CUBLASLT_EPILOGUE_RELU_BIAS": module.EPILOGUE_NUMBERS["bias_relu"],
        "sizeof(cublasLtMatmulAlgo_t)": ctypes.sizeof(module.MatmulAlgo),
    }
    first = module.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES
    for number, matrix in enumerate("ABCD", first):
        wanted[f"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_{matrix}_BYTES"] = number
    result = module.MatmulHeuristicResult
    wanted["sizeof(cublasLtMatmulHeuristicResult_t)"] = ctypes.sizeof(result)
    for field, _ in result._fields_:
        place = f"offsetof(cublasLtMatmulHeuristicResult_t, {field})"
        wanted[place] = getattr(result, field).offset
    lines = [f'printf("%lld\\n", (long long)({name}));' for name in wanted]
    lines += [f"(void){name};" for name in module.SIGNATURES]
    source = tmp_path / "header.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <cublasLt.h>\n"
        f"int main(void) {{\n{os.linesep.join(lines)}\nreturn 0; }}\n"
    )
    # The functions are named, never called: no library is there to link.
    options = [f"-I{folder}" for folder in folders]
    program = tmp_path / "header"
    subprocess.run(
        [COMPILER, *options, "-O1", source, "-o", program],
        check=True,
    )
    told = subprocess.run([program], check=True, capture_output=True, text=True)
    found = dict(zip(wanted, map(int, told.stdout.split()), strict=True))
    assert len(names) > 15
    assert found == wanted
