"""PSPNet for scene parsing, as published by its authors.

    python -m netspec.export models/pspnet.py -o train.prototxt
    python -m netspec.export models/pspnet.py --deploy -o pspnet50_ADE20K_473.prototxt
    python -m netspec.export models/pspnet.py --set depth=101 --deploy

Zhao et al., Pyramid scene parsing network, arXiv:1612.01105. A residual net of 50 or
101 layers whose last two stages are dilated, averages of its maps over 1, 4, 9 and 36
parts of the image, and scores enlarged eight times by Interp. The authors published
the net for use (--deploy) of 50 layers and 150 classes of ADE20K. The one for training
reads images and labels from two databases; in it the phase chooses the statistics.
"""

from typing import Any, Literal

from netspec import TRAIN, NetSpec, Top
from netspec import layers as L

Depth = Literal[50, 101]
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # of every stage
# Width, stride and dilation of the stages.
STAGES = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))
LEVELS = (1, 2, 3, 6)  # parts of the image along each side
NEW = 10  # times faster than the layers whose weights are known before


def pspnet(
    depth: Depth = 50,
    batch_size: int = 16,
    num_classes: int = 150,
    size: int = 473,
    source: str = "examples/ade20k/images_lmdb",
    label_source: str = "examples/ade20k/labels_lmdb",
) -> NetSpec:
    """Return the net for training, on images and labels cut to size x size."""
    n = NetSpec()
    reading = dict(batch_size=batch_size, backend="LMDB", include=TRAIN)
    mean = [103.939, 116.779, 123.68]
    n.data = L.Data(source=source, transform_param=dict(mean_value=mean), **reading)
    n.label = L.Data(source=label_source, **reading)
    segment(n, depth, num_classes, size, {})
    ignored = dict(ignore_label=255)
    n.loss = L.SoftmaxWithLoss(n.conv6_interp, n.label, loss_param=ignored)
    return n


def deploy(depth: Depth = 50, num_classes: int = 150, size: int = 473) -> NetSpec:
    """Return the net for use: an image in, scores of its pixels out."""
    n = NetSpec()
    n.data = L.Input(shape=[1, 3, size, size], name="input")
    segment(n, depth, num_classes, size, dict(frozen=True))
    return n


def segment(
    n: NetSpec, depth: Depth, num_classes: int, size: int, statistics: dict[str, Any]
) -> None:
    """Add the layers from `n.data` to the scores, `n.conv6_interp`."""

    def conv(name: str, x: Top, width: int, rate: int = 1, **options: Any) -> Top:
        """Add a convolution and its BN in place."""
        learn = [dict(lr_mult=rate, decay_mult=1)]
        n[name] = x = L.Convolution(
            x,
            num_output=width,
            bias_term=False,
            weight_filler="msra",
            param=learn,
            **options,
        )
        fixed = [dict(lr_mult=0, decay_mult=0)] * 2
        if name == "conv5_4":
            fixed = [dict(lr_mult=0, decay_mult=1), fixed[1]]
        n[f"{name}/bn"] = x = L.BN(
            x,
            slope_filler=1,
            bias_filler=0,
            momentum=0.95,
            param=[dict(lr_mult=rate, decay_mult=0)] * 2 + fixed,
            **statistics,
            in_place=True,
        )
        return x

    def relu(name: str, x: Top) -> Top:
        """Add a ReLU in place."""
        n[f"{name}/relu"] = x = L.ReLU(x, in_place=True)
        return x

    def block(
        name: str, x: Top, width: int, stride: int, dilation: int, project: bool
    ) -> Top:
        """Add three convolutions, and what goes past them."""
        wide = dict(dilation=dilation) if dilation > 1 else {}
        y = conv(f"{name}_1x1_reduce", x, width, kernel_size=1, pad=0, stride=stride)
        y = relu(f"{name}_1x1_reduce", y)
        window = dict(kernel_size=3, pad=dilation, stride=1)
        y = relu(f"{name}_3x3", conv(f"{name}_3x3", y, width, **window, **wide))
        one = dict(kernel_size=1, pad=0)
        y = conv(f"{name}_1x1_increase", y, 4 * width, **one, stride=1)
        if project:
            x = conv(f"{name}_1x1_proj", x, 4 * width, **one, stride=stride)
        n[name] = y = L.Eltwise(x, y, operation="SUM")
        return relu(name, y)

    x, window = n.data, dict(kernel_size=3, pad=1)
    for name, width, stride in (
        ("conv1_1_3x3_s2", 64, 2),
        ("conv1_2_3x3", 64, 1),
        ("conv1_3_3x3", 128, 1),
    ):
        x = relu(name, conv(name, x, width, **window, stride=stride))
    n.pool1_3x3_s2 = x = L.Pooling(x, pool="MAX", **window, stride=2)
    for stage, count in enumerate(BLOCKS[depth]):
        width, stride, dilation = STAGES[stage]
        for place in range(count):
            step = 1 if place else stride
            name = f"conv{stage + 2}_{place + 1}"
            x = block(name, x, width, step, dilation, project=not place)

    side = (size - 1) // 8 + 1
    parts = []
    for level in LEVELS:
        name, step = f"conv5_3_pool{level}", side // level
        averages = dict(pool="AVE", kernel_size=step, stride=step)
        n[name] = y = L.Pooling(x, **averages)
        y = conv(f"{name}_conv", y, 512, NEW, kernel_size=1, stride=1)
        y = relu(f"{name}_conv", y)
        n[f"{name}_interp"] = y = L.Interp(y, height=side, width=side)
        parts.insert(0, y)
    n.conv5_3_concat = x = L.Concat(x, *parts)
    x = relu("conv5_4", conv("conv5_4", x, 512, NEW, **window, stride=1))
    n["conv5_4/dropout"] = x = L.Dropout(x, dropout_ratio=0.1, in_place=True)
    learn = [dict(lr_mult=NEW, decay_mult=1), dict(lr_mult=2 * NEW, decay_mult=1)]
    one = dict(kernel_size=1, stride=1, weight_filler="msra", param=learn)
    n.conv6 = L.Convolution(x, num_output=num_classes, **one)
    n.conv6_interp = L.Interp(n.conv6, zoom_factor=8)
