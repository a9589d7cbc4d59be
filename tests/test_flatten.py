"""Modules in the net text: what they mean, and what is said of mistakes in them."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import netspec
from netspec.errors import FileError, TextError
from netspec.flatten import main
from netspec.schema import NetParameter, SolverParameter
from netspec.text import as_net, parse, read_net, to_text, write_message
from netspec.text_modules import has_modules
from netspec.upgrade import upgrade_text
from tests.reference import needs_reference, reference_dir
from tests.schema.random_messages import messages
from tests.test_architecture import ROOT

GOOGLENET = ROOT / "models" / "googlenet_modules.prototxt"

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


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("module { }", True),
        ("name: 'x' import: 'y'", True),
        ("layer { module: 'x' }", True),
        ("layer { python_param { module: 'x' } }", False),
        ("layer < a < module: 'x' > > layer: < module: 'y' >", True),
        ("# module {\nname: 'module { '", False),
        ("layer { name: 'module' import: 3 }", False),
        ("submodule { }", False),
    ],
)
def test_modules_are_seen(text, found):
    assert has_modules(text) is found


@needs_reference
def test_googlenet_of_modules_is_the_published_one():
    published = "BVLC__caffe/models__bvlc_googlenet__train_val.prototxt"
    text = (reference_dir() / "zoo" / published).read_text()
    assert read_net(GOOGLENET) == parse(text, NetParameter)
    assert len(GOOGLENET.read_text().splitlines()) < len(text.splitlines()) / 6


def test_googlenet_of_modules_is_that_of_the_model_file():
    from netspec.export import load_model

    assert read_net(GOOGLENET) == load_model(ROOT / "models" / "googlenet.py")


def test_the_examples_of_the_docs_mean_what_they_say():
    page = (ROOT / "docs" / "modules-in-text.md").read_text()
    first, meaning, siamese, _ = re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)
    same(first, meaning)
    net = flat(siamese)
    names = [[spec.name for spec in layer.param] for layer in net.layer]
    assert names[1] == names[4] == ["tower/ip1_w", "tower/ip1_b"]
    assert netspec.summarize(net).num_params == 784 * 500 + 500 + 500 * 2 + 2
    assert f"{len(GOOGLENET.read_text().splitlines())} lines" in page


def test_the_command_writes_the_flat_net(tmp_path, capsys):
    path = write(tmp_path, net=CONV + USE + "values { width: 3 } }")
    assert main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert parse(printed, NetParameter) == read_net(path)
    assert "module" not in printed
    for name in ("flat.prototxt", "flat.binaryproto"):
        assert main([str(path), "-o", str(tmp_path / name)]) == 0
        assert read_net(tmp_path / name) == read_net(path)
    path.write_text(CONV + USE + "}")
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}:17:1: module 'Conv' needs width")
    assert said.count("\n") == 1


def test_a_net_without_modules_flattens_to_itself(tmp_path, capsys):
    from hypothesis import HealthCheck, given, settings

    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(messages("NetParameter"))
    def check(net):
        write_message(tmp_path / "net.prototxt", net)
        assert main([str(tmp_path / "net.prototxt")]) == 0
        assert capsys.readouterr().out == to_text(net)

    check()


def test_other_commands_read_modules(tmp_path):
    text = """
    layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 2, 5, 5] } }
    }
    """
    path = write(tmp_path, net=CONV + text + USE + "values { width: 3 } }")
    assert netspec.summarize(path).num_params == 3 * 2 * 9 + 3
    assert 'name: "a/relu"' in upgrade_text(path.read_text())
    for command in (
        ["netspec.summary", path],
        ["netspec.draw", path],
        ["runtime", "check", path],
    ):
        arguments = [sys.executable, "-m", *map(str, command)]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert b"a/conv" in done.stdout or command[1] == "check"


def test_solvers_have_no_modules():
    with pytest.raises(TextError, match="SolverParameter has no field 'module'"):
        parse("module { }", SolverParameter)


# ---------------------------------------------------------------- random modules


class Random:
    """Random modules as text, and what a plain function for each would write.

    The flat net is made by Python functions with their own variables: a blob is known
    by what it is called in the flat net as soon as it is made.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.modules: list[dict] = []
        self.text = ""
        for number in range(self.random.randint(1, 5)):
            self.module(number)

    def module(self, number):
        pick = self.random
        inputs = [f"in{i}" for i in range(pick.randint(1, 2))]
        values = {f"v{i}": pick.choice(["required", "default", "optional"])
                  for i in range(3)}  # fmt: skip
        steps, local = [], list(inputs)
        for step in range(pick.randint(1, 4)):
            bottom = pick.choice(local)
            if self.modules and pick.random() < 0.5:
                inner = pick.choice(self.modules)
                named = pick.random() < 0.7
                tops = [f"t{number}_{step}_{i}" for i in range(len(inner["outputs"]))]
                given = {
                    name: pick.choice([*values, pick.randint(1, 99)])
                    for name, kind in inner["values"].items()
                    if kind == "required" or pick.random() < 0.5
                }
                # What may be left out cannot be what must be given.
                given = {
                    name: 5 if values.get(value) == "optional"
                    and inner["values"][name] == "required" else value
                    for name, value in given.items()
                }  # fmt: skip
                bind = tops if not named or pick.random() < 0.5 else None
                bottoms = [pick.choice(local) for _ in inner["inputs"]]
                name = f"u{number}_{step}" if named else ""
                share = pick.random() < 0.2 and bool(name)
                steps.append(("use", name, inner, bottoms, bind, given, share))
                local += bind or [f"{name}/{each}" for each in inner["outputs"]]
            else:
                top = bottom if pick.random() < 0.2 else f"m{number}_{step}"
                steps.append(("layer", f"m{number}_l{step}", bottom, top,
                              pick.choice([*values, 7])))  # fmt: skip
                local.append(top)
        made = [name for name in local if name not in inputs]
        outputs = sorted(set(pick.sample(made, min(len(made), 2))))
        module = dict(name=f"M{number}", inputs=inputs, outputs=outputs,
                      values=values, steps=steps)  # fmt: skip
        self.modules.append(module)
        self.text += self.written(module)

    def written(self, module):
        quoted = lambda names: "[" + ", ".join(f'"{name}"' for name in names) + "]"  # noqa: E731
        lines = [
            f'module {{ name: "{module["name"]}" input: {quoted(module["inputs"])}'
        ]
        lines.append(f"output: {quoted(module['outputs'])}")
        for name, kind in module["values"].items():
            lines.append(
                f"default {{ {name}: 4 }}" if kind == "default" else f'{kind}: "{name}"'
            )
        for kind, name, *rest in module["steps"]:
            if kind == "layer":
                bottom, top, pad = rest
                lines.append(
                    f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" '
                    f'top: "{top}" pooling_param {{ kernel_size: 3 pad: {pad} }} }}'
                )
                continue
            inner, bottoms, bind, given, share = rest
            lines.append(f'layer {{ name: "{name}" module: "{inner["name"]}"')
            lines.append(f"bottom: {quoted(bottoms)}")
            lines += [f"top: {quoted(bind)}"] if bind else []
            lines += ['share: "s"'] if share and name else []
            lines.append("values {")
            lines += [f"{name}: {value}" for name, value in given.items()]
            lines.append("} }")
        return "\n".join([*lines, "}\n"])

    def called(self, net, module, prefix, blobs, given, names):
        """Add the layers of one call.

        blobs: what the inputs are called. names: what tops are to be called, by what
        they are called in the module.
        """
        blobs = dict(zip(module["inputs"], blobs, strict=True))
        defaults = {n: 4 for n, kind in module["values"].items() if kind == "default"}
        given = {**defaults, **given}
        for kind, name, *rest in module["steps"]:
            if kind == "layer":
                bottom, top, pad = rest
                pad = given.get(pad) if isinstance(pad, str) else pad
                blobs.setdefault(top, names.get(top, prefix + top))
                layer = net.layer.add(name=prefix + name, type="Pooling")
                layer.bottom.append(blobs[bottom])
                layer.top.append(blobs[top])
                layer.pooling_param.kernel_size = 3
                if pad is not None:
                    layer.pooling_param.pad = pad
                continue
            inner, bottoms, bind, values, _ = rest
            values = {k: given.get(v) if isinstance(v, str) else v
                      for k, v in values.items()}  # fmt: skip
            values = {k: v for k, v in values.items() if v is not None}
            before = f"{name}/" if name else ""
            wanted = bind or [before + each for each in inner["outputs"]]
            for each in wanted:
                blobs[each] = names.get(each, prefix + each)
            outer = {n.removeprefix(before): v for n, v in names.items()
                     if before and n.startswith(before)}  # fmt: skip
            outer |= {each: blobs[top] for each, top in
                      zip(inner["outputs"], wanted, strict=True)}  # fmt: skip
            self.called(net, inner, prefix + before, [blobs[b] for b in bottoms],
                        values, outer)  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_random_modules_mean_what_plain_functions_write(seed):
    made = Random(seed)
    module = made.modules[-1]
    given = {name: 6 for name, kind in module["values"].items() if kind == "required"}
    text = made.text + "\n".join(
        f'layer {{ name: "{name}" module: "{module["name"]}" values {{'
        + " ".join(f"{name}: {value}" for name, value in given.items())
        + "}"
        + " ".join(f' bottom: "b{i}"' for i in range(len(module["inputs"])))
        + " ".join(f' top: "{top}"' for top in tops)
        + "}"
        for name, tops in (
            ("x", []),
            ("y", [f"y{i}" for i in range(len(module["outputs"]))]),
        )
    )
    expected = NetParameter()
    bottoms = [f"b{i}" for i in range(len(module["inputs"]))]
    made.called(expected, module, "x/", bottoms, given, {})
    names = {out: f"y{i}" for i, out in enumerate(module["outputs"])}
    made.called(expected, module, "y/", bottoms, given, names)
    assert to_text(flat(text)) == to_text(expected)
