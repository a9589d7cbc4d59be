"""SSD 300 x 300 for PASCAL VOC on VGG-16, as published by its authors.

    python -m netspec.export models/ssd300.py -o ssd300_train.prototxt
    python -m netspec.export models/ssd300.py --deploy -o ssd300.prototxt

Liu et al., SSD: single shot multibox detector, arXiv:1512.02325. Six grids of features
have a few default boxes at every place, 8,732 in all; convolutions tell what is in each
and how to move it. Normalize, Permute, PriorBox, DetectionOutput, MultiBoxLoss and
AnnotatedData are of the authors' fork of Caffe. With --deploy: an image in, detections
out, each a row of image, class, score and corners.
"""

from typing import Any, NamedTuple

from vgg16 import LEARN, features, stage

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

LABELS = "data/VOC0712/labelmap_voc.prototxt"
CONV = dict(param=LEARN, weight_filler="xavier", bias_filler=0)
# What a box is: share_location gives all classes of a place the same boxes.
BOXES = dict(share_location=True, background_label_id=0, code_type="CENTER_SIZE")


class Grid(NamedTuple):
    """Default boxes over features: sides of the squares and step, in pixels."""

    source: str
    min_size: float
    max_size: float
    ratios: tuple[float, ...]
    step: float

    @property
    def boxes(self) -> int:
        """How many boxes a place has: two squares, and each ratio upright and flat."""
        return 2 + 2 * len(self.ratios)


class Extra(NamedTuple):
    """A stage behind VGG-16: half its width, and the window of its convolution."""

    number: int
    width: int
    kernel: int
    pad: int
    stride: int


class Size(NamedTuple):
    """SSD for images of `side` pixels: its grids of boxes, and stages behind VGG-16."""

    side: int
    grids: tuple[Grid, ...]
    extras: tuple[Extra, ...]

    @property
    def name(self) -> str:
        """The name of the net."""
        return f"VGG_VOC0712_SSD_{self.side}x{self.side}"


SIZE = Size(
    300,
    (
        Grid("conv4_3_norm", 30, 60, (2,), 8),
        Grid("fc7", 60, 111, (2, 3), 16),
        Grid("conv6_2", 111, 162, (2, 3), 32),
        Grid("conv7_2", 162, 213, (2, 3), 64),
        Grid("conv8_2", 213, 264, (2,), 100),
        Grid("conv9_2", 264, 315, (2,), 300),
    ),
    (
        Extra(6, 256, 3, 1, 2),
        Extra(7, 128, 3, 1, 2),
        Extra(8, 128, 3, 0, 1),
        Extra(9, 128, 3, 0, 1),
    ),
)


def ssd300(
    batch_size: int = 32,
    num_classes: int = 21,
    source: str = "examples/VOC0712/VOC0712_trainval_lmdb",
    label_map_file: str = LABELS,
) -> NetSpec:
    """Return the net for training; the classes include the background."""
    return train(SIZE, batch_size, num_classes, source, label_map_file)


def deploy(
    batch_size: int = 1,
    num_classes: int = 21,
    label_map_file: str = LABELS,
    output_directory: str = "data/VOCdevkit/results/VOC2007/SSD_300x300/Main",
) -> NetSpec:
    """Return the net for use: images in, detections out, also as files for PASCAL."""
    return use(SIZE, batch_size, num_classes, label_map_file, output_directory)


def train(
    size: Size, batch_size: int, num_classes: int, source: str, label_map_file: str
) -> NetSpec:
    """Return the net of a size for training."""
    n = NetSpec(f"{size.name}_train")
    n.data, n.label = L.AnnotatedData(
        data_param=dict(source=source, batch_size=batch_size, backend="LMDB"),
        annotated_data_param=dict(
            batch_sampler=samplers(), label_map_file=label_map_file
        ),
        transform_param=augmentation(size.side),
        include=TRAIN,
        ntop=2,
    )
    detect(n, size, num_classes)
    learn(n, num_classes)
    return n


def learn(n: NetSpec, num_classes: int) -> None:
    """Add the loss of `mbox_loc`, `mbox_conf` and `mbox_priorbox` against `label`."""
    n.mbox_loss = L.MultiBoxLoss(
        n.mbox_loc,
        n.mbox_conf,
        n.mbox_priorbox,
        n.label,
        num_classes=num_classes,
        **BOXES,
        loc_loss_type="SMOOTH_L1",
        conf_loss_type="SOFTMAX",
        loc_weight=1,
        match_type="PER_PREDICTION",
        overlap_threshold=0.5,
        use_prior_for_matching=True,
        use_difficult_gt=True,
        neg_pos_ratio=3,
        neg_overlap=0.5,
        ignore_cross_boundary_bbox=False,
        mining_type="MAX_NEGATIVE",
        loss_param=dict(normalization="VALID"),
        propagate_down=[True, True, False, False],
        include=TRAIN,
    )


def use(
    size: Size,
    batch_size: int,
    num_classes: int,
    label_map_file: str,
    output_directory: str,
) -> NetSpec:
    """Return the net of a size for use."""
    n = NetSpec(f"{size.name}_deploy")
    n.data = L.Input(shape=[batch_size, 3, size.side, size.side], name="input")
    detect(n, size, num_classes)
    saving = dict(
        output_directory=output_directory,
        output_name_prefix="comp4_det_test_",
        output_format="VOC",
        label_map_file=label_map_file,
        name_size_file="data/VOC0712/test_name_size.txt",
        num_test_image=4952,
    )
    boxes = dict(keep_top_k=200, confidence_threshold=0.01, save_output_param=saving)
    tell(n, num_classes, top_k=400, **boxes)
    return n


def tell(n: NetSpec, num_classes: int, top_k: int, **options: Any) -> None:
    """Add the layers from `mbox_loc`, `mbox_conf` and `mbox_priorbox` to detections."""
    n.mbox_conf_reshape = L.Reshape(n.mbox_conf, shape=[0, -1, num_classes])
    n.mbox_conf_softmax = L.Softmax(n.mbox_conf_reshape, axis=2)
    n.mbox_conf_flatten = L.Flatten(n.mbox_conf_softmax, axis=1)
    n.detection_out = L.DetectionOutput(
        n.mbox_loc,
        n.mbox_conf_flatten,
        n.mbox_priorbox,
        num_classes=num_classes,
        **BOXES,
        nms_param=dict(nms_threshold=0.45, top_k=top_k),
        **options,
        include=TEST,
    )


def detect(n: NetSpec, size: Size, num_classes: int) -> None:
    """Add the layers from `n.data` to `mbox_loc`, `mbox_conf` and `mbox_priorbox`."""
    rest = trunk(n, size.extras)
    options = dict(across_spatial=False, channel_shared=False)
    n.conv4_3_norm = L.Normalize(n.relu4_3, scale_filler=20, **options)
    heads = [
        head(n, grid, x, num_classes)
        for grid, x in zip(size.grids, (n.conv4_3_norm, *rest), strict=True)
    ]
    join(n, heads)


def join(n: NetSpec, heads: list[tuple[Top, Top, Top]]) -> None:
    """Add `mbox_loc`, `mbox_conf` and `mbox_priorbox`, those of all grids."""
    for name, axis, parts in zip(
        ("loc", "conf", "priorbox"), (1, 1, 2), zip(*heads, strict=True), strict=True
    ):
        n[f"mbox_{name}"] = L.Concat(*parts, axis=axis)


def trunk(n: NetSpec, extras: tuple[Extra, ...]) -> list[Top]:
    """Add VGG-16, its last stage not halved, and more convolutions; return grids."""
    x = features(n, n.data, (2, 2, 3, 3), **CONV)
    x = stage(n, x, 5, 3, dilation=1, **CONV)
    n.pool5 = L.Pooling(x, pool="MAX", kernel_size=3, stride=1, pad=1)
    wide = dict(num_output=1024, kernel_size=3, pad=6, dilation=6)
    n.fc6 = L.Convolution(n.pool5, **wide, **CONV)
    n.relu6 = L.ReLU(n.fc6, in_place=True)
    n.fc7 = L.Convolution(n.relu6, num_output=1024, kernel_size=1, **CONV)
    n.relu7 = L.ReLU(n.fc7, in_place=True)
    grids = [n.relu7]
    for stage_behind in extras:
        grids.append(extra(n, grids[-1], stage_behind))
    return grids


def extra(n: NetSpec, x: Top, more: Extra) -> Top:
    """Add a narrow convolution of 1 by 1 and a wide one of 3 by 3 or more."""
    narrow = dict(num_output=more.width, kernel_size=1, pad=0, stride=1)
    wide = dict(num_output=2 * more.width, kernel_size=more.kernel)
    wide |= dict(pad=more.pad, stride=more.stride)
    for k, window in ((1, narrow), (2, wide)):
        n[f"conv{more.number}_{k}"] = x = L.Convolution(x, **window, **CONV)
        n[f"conv{more.number}_{k}_relu"] = x = L.ReLU(x, in_place=True)
    return x


def head(n: NetSpec, grid: Grid, x: Top, num_classes: int) -> tuple[Top, Top, Top]:
    """Add how to move the boxes of a grid, what is in them, and the boxes."""
    name = f"{grid.source}_mbox"
    flat = []
    for kind, numbers in (("loc", 4), ("conf", num_classes)):
        window = dict(num_output=numbers * grid.boxes, kernel_size=3, pad=1, stride=1)
        n[f"{name}_{kind}"] = y = L.Convolution(x, **window, **CONV)
        n[f"{name}_{kind}_perm"] = y = L.Permute(y, order=[0, 2, 3, 1])
        n[f"{name}_{kind}_flat"] = y = L.Flatten(y, axis=1)
        flat.append(y)
    n[f"{name}_priorbox"] = boxes = L.PriorBox(
        x,
        n.data,
        min_size=grid.min_size,
        max_size=grid.max_size,
        aspect_ratio=list(grid.ratios),
        flip=True,
        clip=False,
        variance=[0.1, 0.1, 0.2, 0.2],
        step=grid.step,
        offset=0.5,
    )
    return flat[0], flat[1], boxes


def samplers() -> list[dict[str, Any]]:
    """Return what is trained on: whole images, and parts that hold enough of a box."""
    shapes = dict(min_scale=0.3, max_scale=1, min_aspect_ratio=0.5, max_aspect_ratio=2)
    constraints = [dict(min_jaccard_overlap=k) for k in (0.1, 0.3, 0.5, 0.7, 0.9)]
    constraints.append(dict(max_jaccard_overlap=1))
    parts = [
        dict(sampler=shapes, sample_constraint=constraint, max_sample=1, max_trials=50)
        for constraint in constraints
    ]
    return [dict(max_sample=1, max_trials=1), *parts]


def augmentation(side: int) -> dict[str, Any]:
    """Return how an image is changed at random before it is learned from."""
    interpolations = ["LINEAR", "AREA", "NEAREST", "CUBIC", "LANCZOS4"]
    colours = dict(brightness_prob=0.5, brightness_delta=32, random_order_prob=0)
    colours |= dict(contrast_prob=0.5, contrast_lower=0.5, contrast_upper=1.5)
    colours |= dict(hue_prob=0.5, hue_delta=18)
    colours |= dict(saturation_prob=0.5, saturation_lower=0.5, saturation_upper=1.5)
    size = dict(height=side, width=side, interp_mode=interpolations)
    return dict(
        mirror=True,
        mean_value=[104, 117, 123],
        resize_param=dict(prob=1, resize_mode="WARP", **size),
        emit_constraint=dict(emit_type="CENTER"),
        distort_param=colours,
        expand_param=dict(prob=0.5, max_expand_ratio=4),
    )
