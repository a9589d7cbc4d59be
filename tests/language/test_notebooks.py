"""What IPython shows of mistakes and of specs."""

import inspect
import re
import subprocess
import sys
import warnings

import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec import params as P
from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import users_traceback

# A shell is one for each process, and changes more than a test should.
CELLS = """
import re, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="{nocolor}")
for cell in sys.stdin.read().split("# ---\\n"):
    result = shell.run_cell(cell, store_history=True)
"""


def output_of(*cells):
    """Return what IPython prints while it runs `cells`, without colours."""
    pytest.importorskip("IPython")
    code = CELLS.replace("{nocolor}", "NoColor")
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="# ---\n".join(cells),
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


SETUP = "import netspec\nfrom netspec import NetSpec, L, module\nn = NetSpec()\n"


def test_places_in_a_notebook_are_cells_and_lines():
    shown = output_of(
        SETUP,
        "n.data = L.Input(shape=[1, 3, 8, 8])\n\nn.a = L.ReLU(n.data, negative=1)\n",
    )
    assert "ReLU layer, Cell In[2], line 3: negative is no field" in shown
    assert "ipykernel" not in shown
    assert "<ipython-input" not in shown


def test_warnings_of_the_runtime_name_cells_too():
    shown = output_of(
        SETUP
        + "import runtime\nn.x, n.t = L.Input(shape=[4, 3]), L.Input(shape=[4])\n",
        "n.y = L.InnerProduct(n.x, num_output=2, weight_filler='xavier')\n"
        "n.loss = L.SoftmaxWithLoss(n.y, n.t)\n",
        "import numpy\n\nruntime.predict(n, numpy.zeros((4, 3)), backend='portable');",
    )
    assert "Cell In[3]:3: SpecWarning: the net is not trained" in shown
    assert "ipykernel" not in shown
    assert "<ipython-input" not in shown


def test_frames_of_ours_are_not_shown_and_those_of_the_user_are():
    shown = output_of(
        SETUP + "n.data = L.Input(shape=[1, 3, 8, 8])\n",
        "@module\ndef block(x):\n    return L.Convolution(x, num_output=2)\n",
        "n.block = block(n.data)\n",
    )
    assert "return L.Convolution(x, num_output=2)" in shown
    assert "n.block = block(n.data)" in shown
    assert "record.py" not in shown
    assert "modules.py" not in shown
    assert "SpecError" in shown


def test_a_tracebacks_renderer_of_its_own_skips_marked_frames():
    pytest.importorskip("IPython")
    import stack_data  # noqa: F401 - what IPython's renderer needs
    from IPython.core.ultratb import VerboseTB

    with pytest.raises(SpecError) as caught:
        L.Convolution(NetSpec(), num_output=1)
    error = caught.value
    lines = VerboseTB().structured_traceback(type(error), error, error.__traceback__)
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))
    assert "skipping hidden" in text
    assert "L.Convolution(NetSpec()" in text
    assert "result: _R = record(" not in text  # of the frame between


def test_causes_that_only_this_project_saw_are_not_shown():
    shown = output_of("import netspec\n", "netspec.load('no such.prototxt')\n")
    assert "no such.prototxt: cannot be read" in shown
    assert "FileNotFoundError" not in shown
    assert "files.py" not in shown


def test_a_warning_names_its_cell():
    shown = output_of(
        SETUP,
        "n.data = L.Input(shape=[1, 3, 8, 8])\nn.update = L.ReLU(n.data)\n",
    )
    assert "Cell In[2]:2: SpecWarning: Cell In[2], line 2: n.update = ... nam" in shown


def test_without_a_shell_a_traceback_is_whole():
    with pytest.raises(SpecError) as caught:
        L.ReLU(3)
    error = caught.value
    assert error.__traceback__.tb_next is not None
    assert users_traceback(error.__traceback__).tb_next is None
    assert "record.py" in "".join(error._render_traceback_())


def test_names_are_completed_behind_brackets_and_dots():
    n = NetSpec()
    n.data = L.Input(shape=[1, 3, 8, 8])
    n["mixed/deep/conv"] = L.Convolution(n.data, num_output=2, kernel_size=1)
    assert n._ipython_key_completions_() == [
        "data",
        "mixed/deep/conv",
        "mixed",
        "mixed/deep",
    ]
    assert n["mixed"]._ipython_key_completions_() == ["deep/conv", "deep"]
    names = dir(n)
    assert {"data", "mixed", "to_proto", "update"} <= set(names)
    assert not [name for name in names if name.startswith("_")]
    assert "mixed/deep/conv" not in names
    assert "deep" in dir(n.mixed)


@pytest.mark.parametrize("module", [netspec, L, P, runtime])
def test_completion_offers_what_users_use_only(module):
    names = [name for name in dir(module) if not name.startswith("__")]
    assert not {"Any", "TYPE_CHECKING", "annotations", "importlib"} & set(names)
    for name in names:
        value = getattr(module, name)
        where = getattr(value, "__module__", "netspec")
        assert where.partition(".")[0] in {"netspec", "runtime"}, name


def test_completion_offers_every_layer_and_nothing_else():
    from netspec.catalogue import LAYER_TYPES

    assert {name for name in dir(L) if not name.startswith("__")} == {*LAYER_TYPES}
    assert "Pooling" in dir(P)
    assert {"NetSpec", "load", "summarize", "draw"} <= set(dir(netspec))
    assert {"Net", "Solver", "get_solver"} <= set(dir(runtime))


def test_signatures_have_types_without_quotes():
    text = str(inspect.signature(L.Convolution))
    assert "num_output: int," in text
    assert "weight_filler: Filler | None = None" in text
    assert "'int'" not in text


def test_a_module_is_named_as_one():
    @netspec.module
    def stem(x):
        return L.ReLU(L.Convolution(x, num_output=2, kernel_size=3), in_place=True)

    n = NetSpec("m")
    n.data = L.Input(shape=[1, 3, 8, 8])
    n.first = stem(n.data)
    assert repr(n) == (
        "<NetSpec 'm'\n  data: Input (1, 3, 8, 8)\n  first: module stem (1, 2, 6, 6)>"
    )


@pytest.mark.parametrize(
    "name", ["update", "keys", "vals", "tops", "entries", "replace", "to_proto"]
)
def test_names_of_methods_warn_and_name_the_way(name):
    n = NetSpec()
    n.data = L.Input(shape=[1, 3, 8, 8])
    with pytest.warns(SpecWarning, match=rf'the top is n\[["\']{name}'):
        setattr(n, name, L.ReLU(n.data))
    assert n[name].fn.type_name == "ReLU"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        n[name] = L.TanH(n.data)  # said so, it is meant
    assert [layer.name for layer in NetSpec.to_proto(n).layer] == ["data", name]
