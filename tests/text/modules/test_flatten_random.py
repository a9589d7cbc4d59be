"""Modules in the net text: random ones mean what plain functions write."""

from __future__ import annotations

import random

import pytest

from netspec.schema import NetParameter
from netspec.text import to_text
from tests.text.modules.test_flatten import flat


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
