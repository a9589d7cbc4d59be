"""Rules for functions of each value, run in the readers that install."""

import pytest

from tests.readers.running import check, net_of


@pytest.mark.parametrize("options", ["base: 2 scale: 0.5 shift: 3", "shift: 9"])
@pytest.mark.parametrize("top", ["x", "y"])
@pytest.mark.parametrize("reader", ["opencv", "ncnn"])
def test_log_options(reader, top, options):
    text = net_of(
        f'layer {{ name: "log" type: "Log" bottom: "x" top: "{top}" '
        f"log_param {{ {options} }} }}",
        x=(2, 3, 4, 5),
    )
    check(reader, text, rule="log-options", values={"x": 0.7})
