"""Nets to draw, and what is in a drawing."""

import random
import xml.etree.ElementTree as ET

from netspec.draw.grid import Net, Size

NET = """
name: "small & <odd>"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "a/train_lmdb" batch_size: 7 }
        transform_param { crop_size: 12 mean_value: 1 mean_value: 2 mean_value: 3 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "a/test_lmdb" batch_size: 5 }
        transform_param { crop_size: 12 mean_value: 1 mean_value: 2 mean_value: 3 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        param { name: "w" }
        convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 stride: 2 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "twin" type: "Convolution" bottom: "data" top: "twin"
        param { name: "w" }
        convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 stride: 2 pad: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "twin" top: "sum"
        eltwise_param { operation: MAX } }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip"
        inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
        loss_weight: 0.25 }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
        include { phase: TEST } }
"""


def layer(name, bottoms, kind="TanH"):
    wires = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {wires} top: "{name}" }}'


INPUT = 'input: "x" input_shape { dim: 2 dim: 3 } '
CHAIN_OF_FOLDS = INPUT + "".join(
    layer(f"m{k // 6}/n{k // 2 % 3}/{'ab'[k % 2]}", [below], ("TanH", "BNLL")[k % 2])
    for k, below in enumerate(
        ["x", *(f"m{k // 6}/n{k // 2 % 3}/{'ab'[k % 2]}" for k in range(23))]
    )
)


def random_modules(seed):
    """A net of boxes in modules at several depths, with lines between all."""
    rng = random.Random(seed)
    tops, text = ["x"], 'input: "x" input_shape { dim: 2 dim: 3 }'
    for number in range(rng.randint(6, 24)):
        path = "/".join(f"m{rng.randint(0, 2)}" for _ in range(rng.randint(0, 2)))
        name = f"{path}/l{number}" if path else f"l{number}"
        bottoms = rng.sample(tops, min(len(tops), rng.randint(1, 3)))
        kind = "TanH" if len(bottoms) == 1 else "Eltwise"
        wires = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        text += f'layer {{ name: "{name}" type: "{kind}" {wires} top: "{name}" }}'
        tops.append(name)
    return text


def random_net(seed):
    """Boxes of all sizes, each reading one to three earlier ones."""
    rng = random.Random(seed)
    count = rng.randint(5, 40)
    sizes = [Size(rng.uniform(60, 200), rng.uniform(20, 80)) for _ in range(count)]
    readers = {index: [] for index in range(count)}
    for target in range(1, count):
        for source in rng.sample(range(target), min(target, rng.randint(1, 3))):
            readers[source].append(target)
    return sizes, [Net(source, tuple(targets)) for source, targets in readers.items()]


def random_net_of_many_sources(seed):
    """Like `random_net`, but half of the boxes read nothing: paths start anywhere."""
    rng = random.Random(seed)
    sizes, nets = random_net(seed)
    idle = {box for box in range(len(sizes)) if rng.random() < 0.5}
    return sizes, [
        Net(net.source, tuple(box for box in net.targets if box not in idle))
        for net in nets
    ]


def texts(svg):
    """All text elements of a drawing; fails if it is not well-formed XML."""
    root = ET.fromstring(svg)
    return [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]


def random_rows(seed):
    """Rows of modules that are nearly equal, with lines from and to elsewhere."""
    rng = random.Random(seed)
    text = INPUT + "".join(layer(f"w{k}", ["x"], rng.choice(KINDS)) for k in range(3))
    text += 'layer { name: "cut" type: "Slice" bottom: "x" slice_param { axis: 0 } '
    text += "".join(f'top: "cut{k}" ' for k in range(2)) + "}"
    tops = ["x", "w0", "w1", "w2"]
    for row in range(rng.randint(1, 3)):
        count, inner = rng.randint(2, 6), rng.randint(2, 4)
        kinds = [rng.choice(KINDS) for _ in range(inner)]
        common = rng.choice(["", "", *tops])
        nested, joins = rng.random() < 0.3, rng.random() < 0.5
        below, ends = rng.choice(tops), []
        for step in range(count):
            path = f"r{row}/s{step}"
            last = below
            for place, kind in enumerate(kinds):
                part = f"{path}/deep/{place}" if nested and place else f"{path}/{place}"
                text += layer(part, [last], kind)
                last = part
            reads = [below, last, *([common] if common else [])]
            reads += [f"cut{step % 2}"] if rng.random() < 0.1 else []
            text += layer(f"{path}/sum", reads, "Eltwise")
            below = f"{path}/sum"
            ends.append(below)
            if rng.random() < 0.05:
                text += layer(f"side{row}_{step}", [below])
        if joins:
            some = ends if rng.random() < 0.7 else rng.sample(ends, 2)
            text += layer(f"all{row}", some, "Concat")
            tops.append(f"all{row}")
        tops.append(below)
    return text


KINDS = ("TanH", "BNLL", "AbsVal")
