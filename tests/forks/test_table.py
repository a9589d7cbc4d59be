"""The table of docs/forks.md: each cell holds."""

import pytest

from netspec.ops.base import READERS
from runtime.data.opening import DATA_LAYERS
from runtime.layers import portable_kernels
from tools import fork_nets, gen_fork_table, gen_gradients

FORKS = fork_nets.forks()
TRAINED = sorted({name for fork in FORKS for name in fork_nets.training(fork)})


@pytest.fixture(params=FORKS, ids=lambda fork: fork.word)
def fork(request):
    return request.param


def test_text_comes_back_as_it_was(fork):
    assert fork_nets.text_is_kept(fork)


def test_binary_files_come_back_as_they_were(fork):
    assert fork_nets.binary_is_kept(fork)


def test_all_layers_are_drawn(fork):
    assert fork_nets.is_drawn(fork)


def test_the_net_of_a_fork_has_its_types_and_its_fields(fork):
    net = fork_nets.net_of(fork)
    if fork.form == "layer":
        assert {layer.type for layer in net.layer} >= set(fork_nets.types_of(fork))
    names = {field.name for layer in net.layer for field, _ in layer.ListFields()}
    added = {name for param, name in fork_nets._added(fork) if not param}
    assert names >= added or fork.form == "layers"


def test_the_page_has_the_table(capsys):
    assert gen_fork_table.main(["--check"]) == 0


def test_counted_types_are_those_of_the_package():
    for fork in FORKS:
        shaped, runs = fork_nets.with_shapes(fork), fork_nets.running(fork)
        assert set(fork_nets.training(fork)) <= set(runs) <= set(shaped)
        assert set(shaped) <= READERS.keys()
        assert set(runs) <= {*portable_kernels(), *DATA_LAYERS}


def test_a_type_whose_options_differ_is_not_counted():
    """TSN's Normalize has no parameter, that of caffe-windows has another one."""
    (windows,) = [fork for fork in FORKS if fork.word == "caffe-windows"]
    assert "Normalize" in fork_nets.types_of(windows)
    assert "Normalize" not in fork_nets.with_shapes(windows)


@pytest.mark.filterwarnings("ignore::netspec.SpecWarning")  # ROIAlign may be two
@pytest.mark.parametrize("kind", [name for name in TRAINED if name not in DATA_LAYERS])
def test_counted_types_run_and_their_gradients_are_right(kind):
    assert kind in gen_gradients.row(kind)
