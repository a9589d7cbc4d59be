"""Scripts in which `import caffe` means runtime.pycaffe."""

import os
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import sys
sys.path.insert(0, "/opt/caffe/python")
import caffe
import caffe.net_spec
from caffe import layers as L, params as P, to_proto
from caffe.proto import caffe_pb2
from caffe.net_spec import Top
from caffe.coord_map import crop

n = caffe.NetSpec()
n.data = L.DummyData(shape=dict(dim=[2, 3, 4, 5]))
n.pool = L.Pooling(n.data, pool=P.Pooling.AVE, global_pooling=True)
assert isinstance(n.pool, Top)
assert sys.modules["caffe"] is caffe and caffe.__name__ == "runtime.pycaffe"
light = "runtime.execution.net" not in sys.modules
net = caffe_pb2.NetParameter()
net.CopyFrom(n.to_proto())
import helper
from caffe import io
import caffe.io as again
assert io is again is caffe.io
pooled = caffe.Net(n, caffe.TEST).forward()["pool"]
print(helper.VALUE, sys.argv[1:], light, pooled.shape)
"""


def run_script(tmp_path, text, *arguments):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "helper.py").write_text("VALUE = 'helped'\n")
    (folder / "script.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "runtime.pycaffe", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_a_script_runs_with_a_module_named_caffe(tmp_path):
    done = run_script(tmp_path, SCRIPT, "script.py", "a", "--b")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "helped ['a', '--b'] True (2, 3, 1, 1)\n"


def test_a_script_for_python_2_is_not_run(tmp_path):
    done = run_script(tmp_path, "print 'no'\n", "script.py")
    assert done.returncode == 1
    assert "script.py:1:" in done.stderr
    assert "If the script is for Python 2, convert it" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_says_how_to_use_it(tmp_path):
    done = run_script(tmp_path, "", "--help")
    assert (done.returncode, done.stdout[:35]) == (
        0,
        "usage: python -m runtime.pycaffe SC",
    )
    missing = run_script_again(tmp_path, "missing.py")
    assert (missing.returncode, missing.stderr) == (2, "missing.py: no such file\n")
    assert run_script_again(tmp_path).returncode == 2


def run_script_again(tmp_path, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "runtime.pycaffe", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_install_takes_the_place_of_another_caffe(tmp_path):
    other = tmp_path / "caffe"
    other.mkdir()
    (other / "__init__.py").write_text("Net = 'theirs'\n")
    code = (
        "import caffe; assert caffe.Net == 'theirs'\n"
        "import runtime.pycaffe\n"
        "runtime.pycaffe.install(); runtime.pycaffe.install()\n"
        "import caffe, caffe.proto.caffe_pb2 as pb, caffe.layers\n"
        "assert caffe is runtime.pycaffe and pb.NetParameter and caffe.layers.ReLU\n"
        "import caffe.no_such_module\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert "No module named 'caffe.no_such_module'" in done.stderr.splitlines()[-1]


FORK = """
import os, sys
sys.path.insert(0, "fork")
import caffe
from caffe.model_libs import *
from caffe.tools.more import HEIGHT
from caffe import model_libs
assert model_libs is sys.modules["caffe.model_libs"] is caffe.model_libs
assert [*caffe.__path__][1] == "fork/caffe" and "fork/caffe" in caffe.__path__
assert len(caffe.__path__) == 2 and caffe.io.__name__ == "runtime.pycaffe.io"
import importlib.util
assert importlib.util.find_spec("caffe.io") and importlib.util.find_spec("json")
n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[1, 2]))
n.body = body(n.data)
print([layer.type for layer in n.to_proto().layer], HEIGHT)
try:
    from caffe import no_such_name
except ImportError as error:
    print("no_such_name" in str(error))
os.mkdir("extra")
with open("extra/added.py", "w") as file:
    file.write("VALUE = 7")
caffe.__path__.append("extra")
from caffe.added import VALUE
assert VALUE == 7
import caffe.no_such_module
"""


def test_modules_of_a_fork_are_found_behind_ours(tmp_path):
    fork = tmp_path / "scripts" / "fork" / "caffe"
    (fork / "tools").mkdir(parents=True)
    (fork / "__init__.py").write_text("raise ImportError('the whole fork')\n")
    (fork / "io.py").write_text("raise ImportError('we have one')\n")
    (fork / "model_libs.py").write_text(
        "from caffe import layers as L\nfrom .proto import caffe_pb2\n"
        "def body(x):\n    assert caffe_pb2.NetParameter\n    return L.ReLU(x)\n"
    )
    (fork / "tools" / "__init__.py").write_text("")
    (fork / "tools" / "more.py").write_text("from .size import HEIGHT\n")
    (fork / "tools" / "size.py").write_text("HEIGHT = 300\n")
    (tmp_path / "scripts" / "script.py").write_text(FORK)
    done = subprocess.run(
        [sys.executable, "-m", "runtime.pycaffe", "script.py"],
        cwd=tmp_path / "scripts",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "['Input', 'ReLU'] 300\nTrue\n", done.stderr
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: No module named 'caffe.no_such_module': it is not one of "
        "Caffe's own, nor in extra, fork/caffe. If a fork of Caffe has it, put the "
        "folder around the fork's caffe, such as FORK/python, on sys.path or PYTHONPATH"
    )
