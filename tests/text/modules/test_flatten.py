"""Modules in the net text: what they mean, and what is said of mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

import netspec
from netspec.errors import FileError, TextError
from netspec.schema import NetParameter
from netspec.text import as_net, parse, read_net, to_text

# Sixteen lines; what follows in a test begins on line 17.
CONV = """\
module {
  name: "Conv"
  input: "in"
  output: "conv"
  required: "width"
  optional: "pad"
  default { size: 3 note: "of ${width}" }
  layer {
    name: "conv"
    type: "Convolution"
    bottom: "in"
    top: "conv"
    convolution_param { num_output: width kernel_size: size pad: pad }
  }
  layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
}
"""


def flat(text: str) -> NetParameter:
    return parse(text, NetParameter, source="net.prototxt")


def same(text: str, plain: str) -> None:
    assert to_text(flat(text)) == to_text(parse(plain, NetParameter))


def refused(text: str, *said: str) -> TextError:
    """Check all that is said, line by line; `@` stands for the file's name."""
    with pytest.raises(TextError) as caught:
        flat(text)
    told = str(caught.value).replace("net.prototxt:", "@").split("\n  and: ")
    assert told == list(said)
    return caught.value


# ---------------------------------------------------------------- meaning


def test_a_use_is_written_out_under_its_name():
    same(
        CONV + 'layer { name: "a" module: "Conv" bottom: "data" values { width: 8 } }',
        """
        layer { name: "a/conv" type: "Convolution" bottom: "data" top: "a/conv"
                convolution_param { num_output: 8 kernel_size: 3 } }
        layer { name: "a/relu" type: "ReLU" bottom: "a/conv" top: "a/conv" }
        """,
    )


def test_tops_of_a_use_name_the_outputs():
    same(
        CONV
        + """
        layer { module: "Conv" bottom: ["data"] top: "x" name: "a"
                values { width: 8 size: 5 pad: [1, 2] } }
        layer { module: "Conv" bottom: "x" top: "y" values { width: 0x9 } }
        """,
        """
        layer { name: "a/conv" type: "Convolution" bottom: "data" top: "x"
                convolution_param { num_output: 8 kernel_size: 5 pad: 1 pad: 2 } }
        layer { name: "a/relu" type: "ReLU" bottom: "x" top: "x" }
        layer { name: "conv" type: "Convolution" bottom: "x" top: "y"
                convolution_param { num_output: 9 kernel_size: 3 } }
        layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
        """,
    )


def test_values_of_every_kind():
    same(
        """
        module {
          name: "All" input: "in"
          required: ["whole", "real", "enum", "flag", "filler", "text", "sizes"]
          default { both: "${text}-${whole}-${enum}" several: [sizes, whole] }
          layer {
            name: both type: "Convolution" bottom: "in" top: "$${text} $ ${real}"
            loss_weight: real
            convolution_param {
              num_output: whole engine: enum bias_term: flag weight_filler: filler
              kernel_size: several dilation: [1, whole]
            }
          }
        }
        layer { module: "All" bottom: "x" values {
          whole: 7, real: -1.5e-1; enum: CAFFE flag: false sizes: [3, 5]
          filler < type: 'gaussian' std: 0.5 > text: "a \\"b\\" " 'ü\\303\\244' } }
        """,
        """
        layer {
          name: 'a "b" üä-7-CAFFE' type: "Convolution" bottom: "x"
          top: "${text} $ -1.5e-1" loss_weight: -0.15
          convolution_param {
            num_output: 7 engine: CAFFE bias_term: false
            weight_filler { type: "gaussian" std: 0.5 }
            kernel_size: [3, 5, 7] dilation: [1, 7]
          }
        }
        """,
    )


def test_what_is_left_out_is_left_out_of_the_uses_inside_too():
    text = (
        CONV
        + """
    module { name: "Two" input: "in" optional: "pad"
      layer { name: "a" module: "Conv" bottom: "in" values { width: 2 pad: pad } } }
    layer { name: "x" module: "Two" bottom: "d" values { pad: 3 } }
    layer { name: "y" module: "Two" bottom: "d" }
    """
    )
    x, _, y, _ = flat(text).layer
    assert (x.name, list(x.convolution_param.pad)) == ("x/a/conv", [3])
    assert (y.name, list(y.convolution_param.pad)) == ("y/a/conv", [])


def test_outputs_pass_through_uses_inside():
    net = flat(
        CONV
        + """
        module {
          name: "Tower" input: "in" output: ["b/conv", "mid"] required: "width"
          layer { name: "a" module: "Conv" bottom: "in" top: "mid"
                  values { width: width } }
          layer { name: "b" module: "Conv" bottom: "mid" values { width: 2 } }
          layer { name: "sum" type: "Eltwise" bottom: ["mid", "b/conv"] top: "sum" }
        }
        layer { name: "t" module: "Tower" bottom: "data" top: "out" top: "half"
                values { width: 6 } }
        layer { name: "u" module: "Tower" bottom: "out" values { width: 4 } }
        """
    )
    assert [(each.name, list(each.bottom), list(each.top)) for each in net.layer] == [
        ("t/a/conv", ["data"], ["half"]),
        ("t/a/relu", ["half"], ["half"]),
        ("t/b/conv", ["half"], ["out"]),
        ("t/b/relu", ["out"], ["out"]),
        ("t/sum", ["half", "out"], ["t/sum"]),
        ("u/a/conv", ["out"], ["u/mid"]),
        ("u/a/relu", ["u/mid"], ["u/mid"]),
        ("u/b/conv", ["u/mid"], ["u/b/conv"]),
        ("u/b/relu", ["u/b/conv"], ["u/b/conv"]),
        ("u/sum", ["u/mid", "u/b/conv"], ["u/sum"]),
    ]


def test_an_input_may_be_changed_in_place_and_be_an_output():
    module = """
    module { name: "R" input: "in" output: "in"
             layer { name: "relu" type: "ReLU" bottom: "in" top: "in" } }
    input: "d"
    """
    use = 'layer { name: "r" module: "R" bottom: "d" %s }'
    for top in ("", 'top: "d"'):
        (layer,) = flat(module + use % top).layer
        assert (layer.name, layer.bottom, layer.top) == ("r/relu", ["d"], ["d"])
    with pytest.raises(
        TextError, match=r"output 'in' of module 'R' is its input, so .* must be 'd'"
    ):
        flat(module + use % 'top: "e"')


def test_the_rules_of_a_use_are_those_of_its_layers():
    module = """
    module { name: "R" input: "in"
             layer { name: "relu" type: "ReLU" bottom: "in" top: "relu" } }
    module { name: "S" input: "in"
             layer { name: "r" module: "R" bottom: "in" } }
    """
    use = 'layer { name: "s" module: "S" bottom: "d" include { phase: TEST } }'
    (layer,) = flat(module + use).layer
    assert [rule.phase for rule in layer.include] == [netspec.TEST]


def test_other_fields_of_the_net_stay():
    same(
        'name: "net" ' + CONV + 'force_backward: true input: "d" input_shape { dim: 3 }'
        'layer { name: "${x}" type: "ReLU" bottom: "a" top: [] unheard: [] }',
        'name: "net" force_backward: true input: "d" input_shape { dim: 3 }'
        'layer { name: "${x}" type: "ReLU" bottom: "a" }',
    )


# ---------------------------------------------------------------- sharing

SIAMESE = (
    CONV
    + """
module {
  name: "Tower" input: "in" output: "b/conv"
  layer { name: "a" module: "Conv" bottom: "in" values { width: 5 } }
  layer { name: "b" module: "Conv" bottom: "a/conv" values { width: 7 } %s }
  layer { name: "n" type: "BatchNorm" bottom: "b/conv" top: "n"
          param { name: "mine" lr_mult: 0 } }
}
layer { name: "left" module: "Tower" bottom: "x" %s }
layer { name: "right" module: "Tower" bottom: "y" %s }
"""
)


def names_of_parameters(net: NetParameter) -> dict[str, list[str]]:
    return {
        each.name: [spec.name for spec in each.param]
        for each in net.layer
        if each.type != "ReLU"
    }


def test_parameters_are_distinct_unless_they_are_shared():
    assert names_of_parameters(flat(SIAMESE % ("", "", ""))) == {
        "left/a/conv": [],
        "left/b/conv": [],
        "left/n": ["mine"],
        "right/a/conv": [],
        "right/b/conv": [],
        "right/n": ["mine"],
    }


def test_uses_that_share_have_equal_names_of_parameters():
    share = 'share: "tower"'
    net = flat(SIAMESE % ("", share, share))
    names = {
        "a/conv": ["tower/a/conv_w", "tower/a/conv_b"],
        "b/conv": ["tower/b/conv_w", "tower/b/conv_b"],
        "n": ["mine", "tower/n_variance", "tower/n_count"],
    }
    assert names_of_parameters(net) == {
        f"{side}/{name}": each
        for side in ("left", "right")
        for name, each in names.items()
    }
    statistics = [[spec.lr_mult for spec in net.layer[i].param] for i in (4, 9)]
    assert statistics == [[0, 0, 0]] * 2


def test_sharing_inside_a_module_is_within_each_use():
    net = flat(SIAMESE % ('share: "s"', "", 'share: "t"'))
    names = names_of_parameters(net)
    assert names["left/a/conv"] == []
    assert names["left/b/conv"] == ["left/s/conv_w", "left/s/conv_b"]
    assert names["right/b/conv"] == ["t/s/conv_w", "t/s/conv_b"]
    assert names["right/a/conv"] == ["t/a/conv_w", "t/a/conv_b"]


def test_shared_towers_have_one_set_of_parameters():
    shared = 'share: "tower"'
    data = "".join(
        f'layer {{ name: "{x}" type: "Input" top: "{x}" '
        f"input_param {{ shape {{ dim: [2, 3, 9, 8] }} }} }}"
        for x in "xy"
    )
    text = data + SIAMESE
    both = netspec.summarize(text % ("", shared, shared)).num_params
    apart = netspec.summarize(text % ("", "", shared)).num_params
    # "mine" is one array in both.
    assert (both, apart - both) == (5 * 28 + 7 * 46 + 15, 5 * 28 + 7 * 46 + 8)


# ---------------------------------------------------------------- imports


def write(folder, **files):
    for name, text in files.items():
        path = folder / f"{name}.prototxt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "net.prototxt"


def test_imports_are_relative_to_the_file(tmp_path):
    use = 'layer { name: "a" module: "Conv" bottom: "d" values { width: 3 } }'
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "conv.prototxt").write_text("\ufeff" + CONV)
    (tmp_path / "lib" / "all.prototxt").write_text('import: "conv.prototxt"')
    path = write(
        tmp_path, net=f'{use} import: ["lib/all.prototxt", "lib/../lib/conv.prototxt"]'
    )
    assert [each.name for each in read_net(path).layer] == ["a/conv", "a/relu"]


def test_texts_import_from_the_current_folder(tmp_path, monkeypatch):
    write(tmp_path, conv=CONV)
    monkeypatch.chdir(tmp_path)
    net = as_net(
        'import: "conv.prototxt"\n'
        'layer { name: "a" module: "Conv" bottom: "d" values { width: 3 } }'
    )
    assert len(net.layer) == 2


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            dict(net='\nimport: "b.prototxt"', b='import: "c.prototxt"',
                 c='import: "b.prototxt"'),
            ("c.prototxt:1:9: files import each other: .*b.prototxt → .*c.prototxt → "
            ".*b.prototxt"),
        ),
        (
            dict(net='\nimport: "net.prototxt"'),
            "net.prototxt:2:9: files import each other: .*net.* → .*net.prototxt",
        ),
        (
            dict(net='import: "b.prototxt"', b='layer { name: "x" }'),
            (r"b.prototxt:1:1: layer in an imported file; it may hold modules and "
            r"imports only \(imported at .*net.prototxt:1:9\)"),
        ),
        (dict(net="import: 5"), "net.prototxt:1:9: import takes the name of a file"),
        (
            dict(net='import: "b.prototxt" module { name: "M" }',
                 b='module { name: "M" }'),
            r"net.prototxt:1:22: module 'M' is there already, at .*b.prototxt:1:1",
        ),
        (
            dict(net='import: "b.prototxt"', b='module { name: "C:\\d" }'),
            r"b.prototxt:1:19: \\d in a string means nothing",
        ),
        (
            dict(net='import: "b.prototxt"', b="module {\n name: 'x"),
            "b.prototxt:2:8: the string has no closing quote",
        ),
        (
            dict(
                net='import: "b.prototxt" layer { module: "M" }',
                b='module { name: "M"\n layer { nam: "x" } }',
            ),
            (r"b.prototxt:2:10: .* has no field 'nam'; did you mean 'name'\?"
            r" \(in module 'M' used at .*net.prototxt:1:22\)"),
        ),
    ],
)  # fmt: skip
def test_mistakes_in_imports_name_the_file(tmp_path, files, said):
    with pytest.raises(TextError, match=said):
        read_net(write(tmp_path, **files))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no.prototxt", r"net.prototxt:1:9: import: .*no.prototxt: no such file"),
        (".", "is no file"),
        ("/dev/zero", "/dev/zero: is no file"),
        ("a\\0b", "import: .*null"),
    ],
)
def test_imports_must_be_files(tmp_path, name, said):
    with pytest.raises(FileError, match=said):
        read_net(write(tmp_path, net=f'import: "{name}"'))


def test_files_that_import_too_deep_are_refused(tmp_path):
    for i in range(60):
        (tmp_path / f"{i}.prototxt").write_text(f'import: "{i + 1}.prototxt"')
    with pytest.raises(TextError, match="files import files more than 50 deep"):
        read_net(tmp_path / "0.prototxt")


# ---------------------------------------------------------------- mistakes

USE = 'layer { name: "a" module: "Conv" bottom: "d" '


def mistakes():
    """The cases of the table: the text, and what is said."""
    table = Path(__file__).with_name("module_mistakes.txt").read_text()
    for case in table.split("\n\n")[1:]:
        text, *said = case.rstrip("\n").split("\n=> ")
        yield text, said


@pytest.mark.parametrize(("text", "said"), list(mistakes()))
def test_mistakes_are_told_with_their_places(text, said):
    error = refused(CONV + text, *said)
    line, column = said[0][1:].split(":")[:2]
    assert (error.file, error.line, error.column) == (
        "net.prototxt",
        int(line),
        int(column),
    )


def test_twenty_mistakes_are_enough():
    uses = 'layer { module: "No" }\n' * 50
    with pytest.raises(TextError) as caught:
        flat(CONV + uses)
    assert str(caught.value).count("there is no module 'No'") == 20


def test_long_chains_of_uses_are_told_in_short():
    modules = "".join(
        f'module {{ name: "M{i}" layer {{ module: "M{i + 1}" }} }}\n' for i in range(9)
    )
    with pytest.raises(TextError) as caught:
        flat(modules + 'layer { module: "M0" }')
    told = str(caught.value)
    assert "there is no module 'M9'" in told
    assert told.count(" used at ") == 3
    assert "..." in told


# ---------------------------------------------------------------- limits


def test_uses_in_uses_are_bounded():
    modules = "".join(
        f'module {{ name: "M{i}" layer {{ module: "M{i + 1}" }} }}\n'
        for i in range(2000)
    )
    with pytest.raises(TextError, match="modules use each other more than 100 deep"):
        flat(modules + 'module { name: "M2000" } layer { module: "M0" }')
