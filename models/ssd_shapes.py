"""A small SSD that finds drawn squares, circles and triangles in images of 64 x 64.

    python tools/draw_shapes.py shapes
    python -m netspec.export models/ssd_shapes.py -o shapes/ssd_shapes.prototxt
    cd shapes && python -m runtime train ../models/ssd_shapes_solver.prototxt

The parts of ssd300.py in small: two grids of features, 160 default boxes. In the test
phase detections are compared with the truth, so that test passes report mean average
precision.
"""

from ssd300 import BOXES, Grid, join, learn

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

NAME = "ssd_shapes"
CLASSES = 4  # background, square, circle, triangle
SIDE = 64
GRIDS = (Grid("conv3", 14, 24, (), 8), Grid("conv4", 26, 40, (), 16))
PIXELS = dict(scale=1 / 128, mean_value=[128] * 3)


def ssd_shapes(
    batch_size: int = 16,
    test_batch_size: int = 25,
    source: str = "train_lmdb",
    test_source: str = "test_lmdb",
) -> NetSpec:
    """Return the net for training and testing."""
    n = NetSpec(NAME)
    for phase, path, size in (
        (TRAIN, source, batch_size),
        (TEST, test_source, test_batch_size),
    ):
        n.data, n.label = L.AnnotatedData(
            data_param=dict(source=path, batch_size=size, backend="LMDB"),
            transform_param=dict(mirror=phase == TRAIN, **PIXELS),
            annotated_data_param=dict(label_map_file="labelmap.prototxt"),
            include=phase,
            ntop=2,
        )
    detect(n)
    learn(n, CLASSES)
    tell(n)
    n.detection_eval = L.DetectionEvaluate(
        n.detection_out,
        n.label,
        num_classes=CLASSES,
        background_label_id=0,
        overlap_threshold=0.5,
        include=TEST,
    )
    return n


def deploy(batch_size: int = 1) -> NetSpec:
    """Return the net for use: images in, detections out."""
    n = NetSpec(NAME)
    n.data = L.Input(shape=[batch_size, 3, SIDE, SIDE], name="input")
    detect(n)
    tell(n)
    return n


def detect(n: NetSpec) -> None:
    """Add the layers from `n.data` to `mbox_loc`, `mbox_conf` and `mbox_priorbox`."""
    x = n.data
    for number, (width, stride) in enumerate(((16, 2), (32, 2), (64, 2), (64, 2)), 1):
        name = f"conv{number}"
        window = dict(num_output=width, kernel_size=3, pad=1, stride=stride)
        n[name] = x = L.Convolution(x, **window, weight_filler="msra", bias_term=False)
        n[f"{name}_bn"] = x = L.BatchNorm(x, in_place=True)
        n[f"{name}_scale"] = x = L.Scale(x, bias_term=True, in_place=True)
        n[f"{name}_relu"] = x = L.ReLU(x, in_place=True)
    join(n, [head(n, grid) for grid in GRIDS])


def head(n: NetSpec, grid: Grid) -> tuple[Top, Top, Top]:
    """Add how to move the boxes of a grid, what is in them, and the boxes."""
    x, name = n[f"{grid.source}_relu"], f"{grid.source}_mbox"
    flat = []
    for kind, numbers in (("loc", 4), ("conf", CLASSES)):
        window = dict(num_output=numbers * grid.boxes, kernel_size=3, pad=1)
        n[f"{name}_{kind}"] = y = L.Convolution(x, **window, weight_filler="xavier")
        n[f"{name}_{kind}_perm"] = y = L.Permute(y, order=[0, 2, 3, 1])
        n[f"{name}_{kind}_flat"] = y = L.Flatten(y, axis=1)
        flat.append(y)
    n[f"{name}_priorbox"] = priors = L.PriorBox(
        x,
        n.data,
        min_size=grid.min_size,
        max_size=grid.max_size,
        flip=True,
        clip=False,
        variance=[0.1, 0.1, 0.2, 0.2],
        step=grid.step,
        offset=0.5,
    )
    return flat[0], flat[1], priors


def tell(n: NetSpec) -> None:
    """Add the layers from `mbox_loc`, `mbox_conf` and `mbox_priorbox` to detections."""
    shape = [0, -1, CLASSES]
    n.mbox_conf_reshape = L.Reshape(n.mbox_conf, shape=shape, include=TEST)
    n.mbox_conf_softmax = L.Softmax(n.mbox_conf_reshape, axis=2, include=TEST)
    n.mbox_conf_flatten = L.Flatten(n.mbox_conf_softmax, axis=1, include=TEST)
    n.detection_out = L.DetectionOutput(
        n.mbox_loc,
        n.mbox_conf_flatten,
        n.mbox_priorbox,
        num_classes=CLASSES,
        **BOXES,
        nms_param=dict(nms_threshold=0.45, top_k=100),
        keep_top_k=20,
        confidence_threshold=0.05,
        include=TEST,
    )
