"""Random nets for images of any size, and what is done with them, by seed."""

from __future__ import annotations

import numpy as np

import runtime
from runtime import TEST, TRAIN

SIZES = [(12, 11), (17, 9), (9, 20), (14, 14), (40, 60), (120, 110)]


def _layer(name, kind, bottoms, top, more=""):
    wires = "".join(f' bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}"{wires} top: "{top}" {more} }}\n'


def _conv(rng, name, bottom, kind="Convolution"):
    kernel, stride = rng.choice([1, 3, 3, 5]), rng.choice([1, 1, 2])
    return _layer(
        name,
        kind,
        [bottom],
        name,
        f"convolution_param {{ num_output: {rng.choice([4, 8, 17])} "
        f"kernel_size: {kernel} stride: {stride} pad: {kernel // 2} "
        f"bias_term: {'true' if rng.random() < 0.7 else 'false'} "
        'weight_filler { type: "gaussian" std: 0.2 } } ',
    )


def _in_place(rng, name, bottom, *, may):
    kind, more = {
        0: ("ReLU", ""),
        1: ("PReLU", ""),
        2: ("Dropout", "dropout_param { dropout_ratio: 0.3 }"),
        3: ("Scale", "scale_param { bias_term: true }"),
        4: ("BatchNorm", ""),
        5: ("Sigmoid", ""),
        6: ("Power", "power_param { scale: 0.7 shift: 0.1 }"),
    }[int(rng.integers(7))]
    over = may and rng.random() < 0.7
    return _layer(name, kind, [bottom], bottom if over else name, more), (
        bottom if over else name
    )


def _pool(rng, name, bottom):
    pool = "MAX" if rng.random() < 0.5 else "AVE"
    more = f"pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 }}"
    return _layer(name, "Pooling", [bottom], name, more)


def text_of(rng) -> str:
    """A net over `data`, of 3 channels, whose layers take any size."""
    text = "force_backward: true " if rng.random() < 0.7 else ""
    text += 'layer { name: "in" type: "Input" top: "data" '
    text += "input_param { shape { dim: [2, 3, 12, 11] } } }\n"
    if rng.random() < 0.4:
        text += 'layer { name: "seven" type: "DummyData" top: "seven" dummy_data_param '
        text += "{ shape { dim: [150, 130] } data_filler { value: 7 } } }\n"
        text += _layer("eight", "Power", ["seven"], "eight", "power_param { shift: 1 }")
    tops, shrunk, used = ["data"], {"data": 0}, {"data"}
    for number in range(int(rng.integers(2, 9))):
        name, bottom = f"l{number}", str(rng.choice(tops))
        choice = rng.random()
        if choice < 0.35:
            line = _conv(rng, name, bottom)
            shrunk[name] = shrunk[bottom] + ("stride: 2" in line)
            text += line
            tops.append(name)
        elif choice < 0.65 and (bottom != "data" or rng.random() < 0.3):
            line, top = _in_place(rng, name, bottom, may=bottom not in used)
            text += line
            if top not in tops:
                tops.append(top)
                shrunk[top] = shrunk[bottom]
        elif choice < 0.75 and shrunk[bottom] < 2:
            text += _pool(rng, name, bottom)
            shrunk[name] = shrunk[bottom] + 1
            tops.append(name)
        elif choice < 0.85:
            text += _layer(name, "Eltwise", [bottom, bottom], name)
            shrunk[name] = shrunk[bottom]
            tops.append(name)
        elif choice < 0.92:
            text += _layer(name, "LRN", [bottom], name)
            shrunk[name] = shrunk[bottom]
            tops.append(name)
        elif shrunk[bottom] > 0:
            more = "convolution_param { num_output: 5 kernel_size: 4 stride: 2 "
            more += 'weight_filler { type: "gaussian" std: 0.1 } }'
            text += _layer(name, "Deconvolution", [bottom], name, more)
            shrunk[name] = shrunk[bottom] - 1
            tops.append(name)
        used.add(bottom)
    last = tops[-1]
    if rng.random() < 0.5:
        more = "pooling_param { pool: AVE global_pooling: true }"
        text += _layer("global", "Pooling", [last], "global", more)
        more = "inner_product_param { num_output: 6 "
        more += 'weight_filler { type: "xavier" } }'
        text += _layer("ip", "InnerProduct", ["global"], "ip", more)
        last = "ip"
        if rng.random() < 0.5:
            text += _layer("which", "ArgMax", ["global"], "which")
            more = "slice_param { axis: 1 slice_point: 1 }"
            text += _layer("some", "Filter", ["ip", "bits"], "some").replace(
                "layer {",
                'layer { name: "bits" type: "Input" top: "bits" '
                "input_param { shape { dim: 2 } } }\nlayer {",
                1,
            )
            last = "some"
    more = "reduction_param { operation: SUMSQ } loss_weight: 0.25"
    return text + _layer("loss", "Reduction", [last], "loss", more)


def _values(net):
    return [one.data.copy() for blobs in net.params.values() for one in blobs]


def _put(net, values):
    blobs = (one for blobs in net.params.values() for one in blobs)
    for blob, value in zip(blobs, values, strict=True):
        blob.data[...] = value


def _run(net, x, inputs, clock, gradients):
    for name, value in {"data": x, **inputs}.items():
        net.blobs[name].reshape(*value.shape)
    net.clock.value = clock
    net.forward(data=x, **inputs)
    if gradients:
        net.clear_param_diffs()
        net.backward()
    names = net.blobs if net._keep is None else net.outputs
    found = {f"data {name}": net.blobs[name].data.copy() for name in names}
    if gradients:
        found |= {f"diff {name}": net.blobs[name].diff.copy() for name in net.inputs}
        for name, blobs in net.params.items():
            for slot, blob in enumerate(blobs):
                found[f"{name}[{slot}] diff"] = blob.diff.copy()
    for name, blobs in net.params.items():
        for slot, blob in enumerate(blobs):
            found[f"{name}[{slot}]"] = blob.data.copy()
    return found


def check(seed: int, backend: str = "numpy", turns: int = 10) -> None:
    """Compare a net that sees random sizes with a new one for each of them."""
    rng = np.random.default_rng(seed)
    text = text_of(rng)
    phase = TRAIN if rng.random() < 0.6 else TEST
    gradients = phase == TRAIN or "force_backward" in text
    how = {"backend": backend, "seed": 1, "keep": None if rng.random() < 0.5 else []}
    net = runtime.Net(text, phase, plans=int(rng.choice([2, 3, 64])), **how)
    sizes = [SIZES[i] for i in rng.permutation(len(SIZES))[: int(rng.integers(2, 5))]]
    for turn in range(turns):
        batch, size = int(rng.integers(1, 3)), sizes[int(rng.integers(len(sizes)))]
        x = rng.normal(size=(batch, 3, *size)).astype("float32")
        bits = (rng.random(batch) < 0.6).astype("float32")
        inputs = {"bits": bits} if "bits" in net.blobs else {}
        if rng.random() < 0.3:
            for blobs in net.params.values():
                blobs[0].data[...] *= 0.9
        if rng.random() < 0.3 and net._keep is None:
            net.forward(
                end=net.graph.nodes[int(rng.integers(len(net.graph.nodes)))].name
            )
        if rng.random() < 0.3:
            _put(net, [value + 0.01 for value in _values(net)])
        before = _values(net)
        plan = net.plan
        held = [(a, a.copy()) for a in _arrays(net, rng)] if not inputs else []
        mine = _run(net, x, inputs, turn, gradients)
        if net.plan is not plan and net.backend.on_host:
            for array, value in held:
                np.testing.assert_array_equal(array, value, "held")
        if rng.random() < 0.5:
            del held
        new = runtime.Net(text, phase, **how)
        _put(new, before)
        theirs = _run(new, x, inputs, turn, gradients)
        for name, value in theirs.items():
            said = f"seed {seed}, turn {turn}: {name}"
            np.testing.assert_array_equal(mine[name], value, said)


def _arrays(net, rng):
    names = [name for name in net.blobs if net._keep is None]
    return [net.blobs[name].data for name in rng.permutation(names)[:2]]
