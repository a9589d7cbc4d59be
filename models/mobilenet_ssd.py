"""MobileNet-SSD for PASCAL VOC, as published for Caffe by chuanqi305.

    python -m netspec.export models/mobilenet_ssd.py -o mobilenet_ssd_train.prototxt
    python -m netspec.export models/mobilenet_ssd.py --deploy -o mobilenet_ssd.prototxt

Howard et al., MobileNets, arXiv:1704.04861, with the detection of SSD on top: 1,917
default boxes at the places of six grids. The net for use (--deploy) has the statistics
and scales of the one for training folded into its convolutions, as its author's
merge_bn.py and `python -m netspec.surgery fold` do; with --set folded=false it has not.
"""

from typing import Any

from ssd300 import augmentation, join, learn, samplers, tell

from netspec import TRAIN, NetSpec, Top
from netspec import layers as L

NAME = "MobileNet-SSD"
SIDE = 300
WEIGHT, BIAS = dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)
FIXED = [dict(lr_mult=0, decay_mult=0)] * 3  # statistics are not learned by descent
# Outputs and strides of the separable convolutions, conv1 to conv13.
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
SEPARABLE += ((512, 1),) * 5 + ((1024, 2), (1024, 1))
# Number and outputs of the stages behind them: 1 by 1, then 3 by 3 with stride 2.
EXTRAS = ((14, 256, 512), (15, 128, 256), (16, 128, 256), (17, 64, 128))
# Sides of the squares of every grid, in pixels; the first has no large square.
GRIDS = {
    "conv11": (60, None),
    "conv13": (105, 150),
    "conv14_2": (150, 195),
    "conv15_2": (195, 240),
    "conv16_2": (240, 285),
    "conv17_2": (285, 300),
}


def mobilenet_ssd(
    batch_size: int = 32,
    num_classes: int = 21,
    source: str = "trainval_lmdb",
    label_map_file: str = "labelmap.prototxt",
) -> NetSpec:
    """Return the net for training; the classes include the background."""
    n = NetSpec(NAME)
    values = dict(scale=0.007843, mean_value=[127.5] * 3)  # to -1 .. 1
    n.data, n.label = L.AnnotatedData(
        data_param=dict(source=source, batch_size=batch_size, backend="LMDB"),
        annotated_data_param=dict(
            batch_sampler=samplers(), label_map_file=label_map_file
        ),
        transform_param=augmentation(SIDE) | values,
        include=TRAIN,
        ntop=2,
    )
    detect(n, num_classes, folded=False)
    learn(n, num_classes)
    return n


def deploy(batch_size: int = 1, num_classes: int = 21, folded: bool = True) -> NetSpec:
    """Return the net for use: images in, detections out.

    folded: without BatchNorm and Scale, as published; else with the parameters that the
    net for training has.
    """
    n = NetSpec(NAME)
    n.data = L.Input(shape=[batch_size, 3, SIDE, SIDE], name="input")
    detect(n, num_classes, folded=folded)
    tell(n, num_classes, top_k=100, keep_top_k=100, confidence_threshold=0.25)
    return n


def detect(n: NetSpec, num_classes: int, *, folded: bool) -> None:
    """Add the layers from `n.data` to `mbox_loc`, `mbox_conf` and `mbox_priorbox`."""
    x, width = convolved(n, "conv0", n.data, 32, 3, 2, folded=folded), 32
    for number, (outputs, stride) in enumerate(SEPARABLE, 1):
        name = f"conv{number}"
        options: dict[str, Any] = dict(folded=folded, group=width)
        x = convolved(n, f"{name}/dw", x, width, 3, stride, **options)
        x, width = convolved(n, name, x, outputs, 1, 1, folded=folded), outputs
    for number, narrow, wide in EXTRAS:
        x = convolved(n, f"conv{number}_1", x, narrow, 1, 1, folded=folded)
        x = convolved(n, f"conv{number}_2", x, wide, 3, 2, folded=folded)
    join(n, [head(n, name, *sides, num_classes) for name, sides in GRIDS.items()])


def convolved(
    n: NetSpec,
    name: str,
    x: Top,
    outputs: int,
    kernel: int,
    stride: int,
    *,
    folded: bool,
    group: int = 1,
) -> Top:
    """Add a convolution and a ReLU, with BatchNorm and Scale between unless folded."""
    window: dict[str, Any] = dict(kernel_size=kernel, weight_filler="msra")
    if kernel > 1:
        window |= dict(pad=kernel // 2)
    if stride > 1:
        window |= dict(stride=stride)
    if group > 1:
        window |= dict(group=group, engine="CAFFE")
    if folded:
        bias = dict(param=[WEIGHT, BIAS], bias_filler=0)
    else:
        bias = dict(param=[WEIGHT], bias_term=False)
    n[name] = x = L.Convolution(x, num_output=outputs, **window, **bias)
    if not folded:
        scaled = dict(filler=dict(value=1), bias_filler=dict(value=0), bias_term=True)
        free = [dict(lr_mult=1, decay_mult=0), BIAS]
        n[f"{name}/bn"] = x = L.BatchNorm(x, param=FIXED, in_place=True)
        n[f"{name}/scale"] = x = L.Scale(x, param=free, in_place=True, **scaled)
    n[f"{name}/relu"] = x = L.ReLU(x, in_place=True)
    return x


def head(
    n: NetSpec, name: str, low: int, high: int | None, num_classes: int
) -> tuple[Top, Top, Top]:
    """Add how to move the boxes of a grid, what is in them, and the boxes."""
    x, boxes = n[f"{name}/relu"], 3 if high is None else 6
    flat = []
    for kind, numbers in (("loc", 4), ("conf", num_classes)):
        options: dict[str, Any] = dict(kernel_size=1, weight_filler="msra")
        options |= dict(param=[WEIGHT, BIAS], bias_filler=0)
        y = L.Convolution(x, num_output=numbers * boxes, **options)
        n[f"{name}_mbox_{kind}"] = y
        n[f"{name}_mbox_{kind}_perm"] = y = L.Permute(y, order=[0, 2, 3, 1])
        n[f"{name}_mbox_{kind}_flat"] = y = L.Flatten(y, axis=1)
        flat.append(y)
    sizes: dict[str, Any] = dict(min_size=low, aspect_ratio=[2])
    if high is not None:
        sizes = dict(min_size=low, max_size=high, aspect_ratio=[2, 3])
    n[f"{name}_mbox_priorbox"] = priors = L.PriorBox(
        x,
        n.data,
        **sizes,
        flip=True,
        clip=False,
        variance=[0.1, 0.1, 0.2, 0.2],
        offset=0.5,
    )
    return flat[0], flat[1], priors
