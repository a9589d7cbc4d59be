"""What tests of data sources share."""

import numpy as np
from google.protobuf import text_format

from netspec.schema import LayerParameter

COUNT, SHAPE = 7, (3, 6, 5)


def layer(text):
    return text_format.Parse(f'name: "d" {text}', LayerParameter())


def pixels(count=COUNT, shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8)


def batches(source, count):
    return [[array.copy() for array in source.next()] for _ in range(count)]
