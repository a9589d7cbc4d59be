"""SPP against the poolings of its levels."""

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from tests.layers.harness import LoneLayer, allocated_bytes, check_layer
from tests.layers.test_pooling import pool


def pyramid(op, x):
    parts = [pool(op.pool, level, x, level.pooled)[0] for level in op.levels]
    joined = np.concatenate([part.reshape(len(x), -1) for part in parts], axis=1)
    return joined.reshape(op.tops[0])


@pytest.mark.parametrize("how", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("height", "shape"), [(1, (2, 3, 5, 4)), (2, (2, 3, 7, 5)), (3, (3, 2, 9, 6))]
)
def test_pyramid_joins_its_levels(backend, monkeypatch, how, height, shape):
    monkeypatch.setattr(type(backend), "block_elements", 4 * shape[2] * shape[3])
    text = f'type: "SPP" spp_param {{ pool: {how} pyramid_height: {height} }}'
    check_layer(text, [shape], pyramid, backend=backend)


def test_stochastic_pooling_is_refused(backend):
    text = 'type: "SPP" name: "p5" spp_param { pool: STOCHASTIC pyramid_height: 2 }'
    match = r"layer 'p5' \(SPP\): STOCHASTIC pooling has no .* MAX or AVE"
    with pytest.raises(UnsupportedError, match=match):
        LoneLayer(text, [(2, 3, 4, 5)], backend=backend)


@pytest.mark.parametrize("how", ["MAX", "AVE"])
def test_steps_allocate_nothing(backend, how):
    text = f'type: "SPP" spp_param {{ pool: {how} pyramid_height: 3 }}'
    assert allocated_bytes(text, [(4, 16, 40, 30)], backend=backend) < 4096
