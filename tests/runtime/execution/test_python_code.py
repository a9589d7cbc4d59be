"""Which code nets may run: what is allowed by name, and registered classes."""

from __future__ import annotations

import sys
import types

import pytest

import netspec
import runtime
from netspec.draw import draw
from netspec.errors import SpecError, UnsupportedError
from tests.runtime.execution import own_layers
from tests.runtime.execution.own_layers import MODULE, X, own


def test_a_net_of_unknown_origin_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "trap_layers.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    net = 'layer { name: "t" type: "Python" top: "t" python_param { module: '
    net += '"trap_layers" layer: "Trap" } }'
    with pytest.raises(
        UnsupportedError,
        match=r"layer 't' \(Python\) wants class 'Trap' of module 'trap_layers'. A net "
        r"file is data, so nothing was imported. .*allow_python=\['trap_layers'\] in "
        r"Python, --allow-python trap_layers on",
    ):
        runtime.Net(net, allow_python=["trap", "trap_layers.sub"])
    assert "trap_layers" not in sys.modules


def test_reading_a_net_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "trap_layers.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        'input: "x" input_shape { dim: 2 } layer { name: "t" type: "Python" '
        'bottom: "x" top: "t" python_param { module: "trap_layers" layer: "Trap" } }'
    )
    n = netspec.load(text)
    assert str(n.to_proto()).count("trap_layers") == 1
    assert "trap_layers" in n.to_python()
    assert "Trap" in draw(text)
    assert netspec.summarize(text, shapes={"t": (2,)}).rows[1].name == "t"
    summary = netspec.summarize(text)
    assert summary.blobs["t"] is None
    assert "--shape t=" in summary.notes[0]
    assert "trap_layers" not in sys.modules


def test_a_class_of_another_program_is_not_found(monkeypatch):
    text = own("y", "Swash").replace(MODULE, "__main__")
    with pytest.raises(
        SpecError, match="has no class 'Swash'.*'__main__' is whatever p"
    ):
        runtime.Net(X + text, allow_python=["__main__"])


def test_all_modules_that_are_wanted_are_told_at_once():
    text = X + own("a", "Log") + own("b", "Log", "a").replace(MODULE, "elsewhere")
    with pytest.raises(UnsupportedError, match=r"'a' .*'b' .*, 'elsewhere'\]"):
        runtime.Net(text)


@pytest.mark.parametrize("allow", [True, MODULE, ["x", MODULE], ("tests",)])
def test_a_module_is_allowed_by_its_name_or_its_package(allow):
    runtime.Net(X + own("y", "Log"), allow_python=allow)


def test_a_registered_class_needs_no_permission(monkeypatch):
    @runtime.register_layer
    class Local(own_layers.Log):
        pass

    name = f"{Local.__qualname__}"
    text = own("y", "Log").replace(MODULE, __name__).replace('"Log"', f'"{name}"')
    net = runtime.Net(X + text)
    assert isinstance(net.layers[-1], Local)


def test_only_classes_of_layers_can_be_registered():
    with pytest.raises(SpecError, match="register_layer got <class 'dict'>; expected"):
        runtime.register_layer(dict)


@pytest.mark.parametrize(
    "module, kind, error, message",
    [
        ("no_such_layers", "A", ImportError, "'no_such_layers' cannot be imported"),
        (MODULE, "Lag", SpecError, r"has no class 'Lag'; did you mean 'Log'\?"),
        (MODULE, "function_not_class", SpecError, "expected a class of netspec"),
        ("", "A", SpecError, "python_param must name a module and a layer"),
    ],
)
def test_a_class_that_is_not_there_is_refused(module, kind, error, message):
    text = own("y", kind).replace(MODULE, module)
    with pytest.raises(error, match=rf"(?s)layer 'y' \(Python\).*{message}") as caught:
        runtime.Net(X + text, allow_python=True)
    assert isinstance(caught.value, SpecError)


def test_what_a_module_raises_keeps_its_type(tmp_path, monkeypatch):
    (tmp_path / "broken_layers.py").write_text("raise ZeroDivisionError('early')")
    monkeypatch.syspath_prepend(tmp_path)
    text = own("y", "A").replace(MODULE, "broken_layers")
    with pytest.raises(ZeroDivisionError, match="early") as caught:
        runtime.Net(X + text, allow_python=["broken_layers"])
    assert "while module 'broken_layers' was imported" in caught.value.__notes__[0]


def test_names_of_modules_are_texts():
    with pytest.raises(SpecError, match="allow_python has 3; expected names of mod"):
        runtime.Net(X, allow_python=[3])


def test_a_module_may_import_caffe(tmp_path, monkeypatch):
    source = "import caffe\nclass Mine(caffe.Layer):\n    def forward(self, *_): pass"
    (tmp_path / "caffe_layers.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    text = own("y", "Mine", tops="").replace(MODULE, "caffe_layers")
    runtime.Net(X + text, allow_python=["caffe_layers"]).forward()


def test_modules_made_in_the_process_are_found(monkeypatch):
    module = types.ModuleType("made_here")
    module.Log = own_layers.Log
    monkeypatch.setitem(sys.modules, "made_here", module)
    text = own("y", "Log").replace(MODULE, "made_here")
    runtime.Net(X + text, allow_python=["made_here"])
