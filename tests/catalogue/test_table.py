"""The catalogue, the layer functions and the static definitions name the same types."""

import inspect
import subprocess
import sys
from keyword import iskeyword
from pathlib import Path

import pytest

from netspec import layers as L
from netspec.catalogue import LAYER_TYPES
from netspec.catalogue.check import check_arity
from netspec.errors import SpecError
from netspec.ops import known_types
from netspec.schema import LayerParameter
from netspec.schema.kept import known_fields
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


def test_every_type_has_a_static_definition_and_a_function():
    assert set(LAYER_TYPES) == set(known_types())
    assert set(LAYER_TYPES) <= set(dir(L))
    assert len(LAYER_TYPES) >= 61


@pytest.mark.parametrize("name", LAYER_TYPES)
def test_row_and_function_agree_with_the_schema(name):
    row = LAYER_TYPES[name]
    fields = LayerParameter.DESCRIPTOR.fields_by_name
    function = getattr(L, name)
    keywords = inspect.signature(function).parameters
    assert row.summary
    for field in (row.param, *row.extra_params):
        assert field is None or field in fields
    if row.param is not None:
        message = fields[row.param].message_type
        assert set(row.required) <= set(message.fields_by_name)
        names = {name for name in known_fields(message) if not iskeyword(name)}
        assert names <= set(keywords)
    assert row.summary.split(".")[0] in inspect.getdoc(function)


@pytest.mark.parametrize("name", LAYER_TYPES)
def test_arity_is_checked_on_messages(name):
    row = LAYER_TYPES[name]
    least, most = row.bottoms
    wrong = least - 1 if least else (most + 1 if most is not None else None)
    if wrong is None:
        return
    tops = [f"t{index}" for index in range(row.tops[0])]
    bottoms = [f"b{index}" for index in range(wrong)]
    layer = LayerParameter(name="odd", type=name, bottom=bottoms, top=tops)
    with pytest.raises(SpecError, match=rf"layer 'odd' \({name}\)"):
        check_arity(layer)


def test_layer_functions_are_up_to_date():
    pytest.importorskip("grpc_tools")
    command = [sys.executable, "tools/gen_layers.py", "--check"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
