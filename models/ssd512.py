"""SSD 512 x 512 for PASCAL VOC on VGG-16, as published by its authors.

    python -m netspec.export models/ssd512.py -o ssd512_train.prototxt
    python -m netspec.export models/ssd512.py --deploy -o ssd512.prototxt

The net of ssd300.py with a seventh grid, 24,564 default boxes in all. SSD's PriorBox
cuts sizes such as 35.84 to whole pixels.
"""

from ssd300 import LABELS, Extra, Grid, Size, train, use

from netspec import NetSpec

# Sides of the squares are shares of the image: 7 %, then 15 %, 30 % and so on.
SIZE = Size(
    512,
    (
        Grid("conv4_3_norm", 35.84, 76.8, (2,), 8),
        Grid("fc7", 76.8, 153.6, (2, 3), 16),
        Grid("conv6_2", 153.6, 230.4, (2, 3), 32),
        Grid("conv7_2", 230.4, 307.2, (2, 3), 64),
        Grid("conv8_2", 307.2, 384, (2, 3), 128),
        Grid("conv9_2", 384, 460.8, (2,), 256),
        Grid("conv10_2", 460.8, 537.6, (2,), 512),
    ),
    (
        Extra(6, 256, 3, 1, 2),
        Extra(7, 128, 3, 1, 2),
        Extra(8, 128, 3, 1, 2),
        Extra(9, 128, 3, 1, 2),
        Extra(10, 128, 4, 1, 1),
    ),
)


def ssd512(
    batch_size: int = 16,
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
    output_directory: str = "data/VOCdevkit/results/VOC2007/SSD_512x512/Main",
) -> NetSpec:
    """Return the net for use: images in, detections out, also as files for PASCAL."""
    return use(SIZE, batch_size, num_classes, label_map_file, output_directory)
