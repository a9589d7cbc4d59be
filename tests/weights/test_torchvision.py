"""State dicts of torchvision compute the same in our nets.

The reference runs a state dict as torchvision's nets do, by its keys, in NumPy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import runtime
from netspec.commands.model_files import load_model
from netspec.errors import SpecError
from netspec.schema import TEST
from netspec.weights import Model, as_model, read_weights, torchvision
from netspec.weights.__main__ import main
from netspec.weights.torchvision import check_net, for_pixels, from_torchvision

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 10
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
RESNET, VGG = "torchvision-resnet", "torchvision-vgg"
RNG = np.random.default_rng(11)


def state_of(depth, classes=CLASSES, thin=1):
    """A state dict with random values, its keys in torchvision's order."""
    state = {}

    def conv(key, outputs, inputs, size):
        spread = (2 / (inputs * size * size)) ** 0.5
        shape = (outputs, inputs, size, size)
        state[f"{key}.weight"] = spread * RNG.standard_normal(shape, np.float32)

    def norm(key, size):
        state[f"{key}.weight"] = RNG.uniform(0.3, 0.9, size)
        state[f"{key}.bias"] = RNG.normal(0, 0.2, size)
        state[f"{key}.running_mean"] = RNG.normal(0, 0.2, size)
        state[f"{key}.running_var"] = RNG.uniform(0.5, 1.5, size)
        state[f"{key}.num_batches_tracked"] = np.array(7)

    conv("conv1", 64 // thin, 3, 7)
    norm("bn1", 64 // thin)
    inputs, wide = 64 // thin, 1 if depth < 50 else 4
    for stage, count in enumerate(BLOCKS[depth]):
        width = (64 << stage) // thin
        for block in range(count):
            key = f"layer{stage + 1}.{block}"
            sizes = [(width, inputs, 3), (width, width, 3)]
            if depth >= 50:
                sizes = [(width, inputs, 1), (width, width, 3), (4 * width, width, 1)]
            for number, size in enumerate(sizes, 1):
                conv(f"{key}.conv{number}", *size)
                norm(f"{key}.bn{number}", size[0])
            if block == 0 and (stage or depth >= 50):
                conv(f"{key}.downsample.0", wide * width, inputs, 1)
                norm(f"{key}.downsample.1", wide * width)
            inputs = wide * width
    state["fc.weight"] = RNG.normal(0, 0.05, (classes, inputs))
    state["fc.bias"] = RNG.normal(0, 0.5, classes)
    return {key: np.asarray(each, np.float32) for key, each in state.items()}


def convolve(x, w, stride, pad):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(x, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def reference(state, x):
    """What torchvision's net computes in evaluation, of the scores."""

    def norm(key, y):
        def of(what):
            return state[f"{key}.{what}"][:, np.newaxis, np.newaxis]

        y = (y - of("running_mean")) / np.sqrt(of("running_var") + 1e-5)
        return y * of("weight") + of("bias")

    y = np.maximum(norm("bn1", convolve(x, state["conv1.weight"], 2, 3)), 0)
    y = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    y = sliding_window_view(y, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5))
    blocks = sorted({tuple(k.split(".")[:2]) for k in state if k.startswith("layer")})
    for stage, block in sorted(blocks, key=lambda each: (each[0], int(each[1]))):
        key = f"{stage}.{block}"
        stride = 2 if block == "0" and stage != "layer1" else 1
        around, deep = y, f"{key}.conv3.weight" in state
        if f"{key}.downsample.0.weight" in state:
            around = convolve(y, state[f"{key}.downsample.0.weight"], stride, 0)
            around = norm(f"{key}.downsample.1", around)
        for number in range(1, 4 if deep else 3):
            w = state[f"{key}.conv{number}.weight"]
            own = stride if number == (2 if deep else 1) else 1
            y = convolve(y, w, own, w.shape[2] // 2)
            y = norm(f"{key}.bn{number}", y)
            if number < (3 if deep else 2):
                y = np.maximum(y, 0)
        y = np.maximum(y + around, 0)
    return y.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def keyed(state):
    return {key: [values] for key, values in state.items()}


def scores(net, weights, x):
    ours = runtime.Net(Model(as_model(net).net, weights), TEST)
    ours.forward(data=x)
    return ours.blobs["fc1000"].data


def resnet(depth, variant="torchvision"):
    return load_model(
        ROOT / "models/resnet.py",
        deploy=True,
        depth=depth,
        num_classes=CLASSES,
        variant=variant,
    )


@pytest.mark.parametrize("depth", [18, pytest.param(50, marks=pytest.mark.slow)])
def test_a_residual_net_computes_what_torchvision_does(depth):
    state = state_of(depth)
    x = RNG.standard_normal((1, 3, 224, 224), np.float32)
    want = reference(state, x)
    weights = from_torchvision(keyed(state), RESNET)
    got = scores(resnet(depth), weights, x)
    assert np.abs(want).max() > 0.5
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())
    if depth == 50:
        weights["conv1"].append(np.zeros(64, np.float32))
    other = scores(resnet(depth, "authors"), weights, x)
    assert np.abs(other - want).max() > 1e-2


def test_pixels_in_the_order_of_caffe_give_the_same():
    state = state_of(18)
    pixels = RNG.integers(0, 256, (1, 3, 224, 224)).astype(np.float32)
    mean, std = (
        np.array(each, np.float32)[:, np.newaxis, np.newaxis]
        for each in (torchvision.MEAN, torchvision.STD)
    )
    want = reference(state, (pixels / 255 - mean) / std)
    weights = for_pixels(from_torchvision(keyed(state), RESNET), "conv1")
    means = np.array(torchvision.BGR_MEANS, np.float32)[:, np.newaxis, np.newaxis]
    got = scores(resnet(18), weights, pixels[:, ::-1] - means)
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_every_layer_gets_its_arrays(depth):
    weights = from_torchvision(keyed(state_of(depth, thin=16)), RESNET)
    net = resnet(depth)
    types = ("Convolution", "BatchNorm", "Scale", "InnerProduct")
    names = [layer.name for layer in net.layer if layer.type in types]
    assert sorted(weights) == sorted(names)
    assert all(each[2] == [1] for x, each in weights.items() if x.startswith("bn"))


def test_names_of_data_parallel_are_those_behind_them():
    state = state_of(18, thin=16)
    weights = from_torchvision(keyed(state), RESNET)
    parallel = {f"module.{key}": values for key, values in state.items()}
    for name, held in from_torchvision(keyed(parallel), RESNET).items():
        for one, other in zip(held, weights[name], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("depth", [16, 19])
def test_the_layers_of_vgg_are_found_by_their_order(depth):
    stages = (2, 2, 3, 3, 3) if depth == 16 else (2, 2, 4, 4, 4)
    state, place = {}, 0
    for stage, count in enumerate(stages, 1):
        for k in range(1, count + 1):
            for slot, what in enumerate(("weight", "bias")):
                state[f"features.{place}.{what}"] = np.array([stage, k, slot])
            place += 2
        place += 1  # a pooling
    for number in (0, 3, 6):
        state[f"classifier.{number}.weight"] = np.array([number])
        state[f"classifier.{number}.bias"] = np.array([number])
    weights = from_torchvision(keyed(state), VGG)
    net = load_model(ROOT / f"models/vgg{depth}.py", deploy=True)
    types = ("Convolution", "InnerProduct")
    assert list(weights) == [x.name for x in net.layer if x.type in types]
    for name, held in weights.items():
        if name.startswith("conv"):
            stage, k = map(int, name.removeprefix("conv").split("_"))
            assert [list(each) for each in held] == [[stage, k, 0], [stage, k, 1]]
        else:
            assert held[0] == (int(name[2]) - 6) * 3


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        (RESNET, {"layer1.0.conv4.weight": 1}, "has 'layer1.0.conv4.weight', so it is"),
        (RESNET, {"layer5.0.conv1.weight": 1}, "has 'layer5.0.conv1.weight', so it is"),
        (RESNET, {"layer1.0.conv1.bias": 1}, "has 'layer1.0.conv1.bias', so it is no"),
        (RESNET, {"conv2.weight": 1}, "has 'conv2.weight', so it is no"),
        (RESNET, {"layer1.9.conv1.weight": 1}, "has 'layer1.9.conv1.weight', so it"),
        (RESNET, {"layer2.1.bn1.running_mean": None}, "layer 'bn3b_branch2a' are miss"),
        (RESNET, {"layer2.1.bn1.running_var": None}, "layer 'bn3b_branch2a' are miss"),
        (RESNET, {"bn1.weight": None}, "layer 'scale_conv1' are missing"),
        (RESNET, {"bn1.bias": None}, "layer 'scale_conv1' are missing"),
        (VGG, {}, "has 0 convolutions in 'features', vgg16 has 13"),
    ],
)
def test_other_state_dicts_are_refused(table, change, said):
    state = state_of(18, thin=16)
    for key, value in change.items():
        state.pop(key, None) if value is None else state.update({key: np.ones(value)})
    with pytest.raises(SpecError, match=rf"x.npz: .*{said}"):
        from_torchvision(keyed(state), table, "x.npz")


def test_an_empty_state_dict_is_refused():
    with pytest.raises(SpecError, match="weights: is empty, so it is no state dict"):
        from_torchvision({}, RESNET)


def test_the_net_of_the_authors_is_refused():
    check_net(resnet(18), RESNET)
    check_net(resnet(50, "authors"), VGG)
    net = resnet(50)
    check_net(net, RESNET)
    for wrong in (resnet(18, "authors"), resnet(50, "authors")):
        with pytest.raises(SpecError, match="take models/resnet.py with --set variant"):
            check_net(wrong, RESNET)
    for layer in net.layer:
        if layer.name == "res3a_branch2a":
            layer.convolution_param.stride[:] = [2]
    with pytest.raises(SpecError, match="its first pooling or its strides"):
        check_net(net, RESNET)


def test_the_command_reads_a_state_dict(tmp_path, capsys):
    np.savez(tmp_path / "state.npz", **state_of(18, thin=16))
    out = tmp_path / "w.safetensors"
    arguments = [str(tmp_path / "state.npz"), str(out), "--names", RESNET]
    assert main(arguments) == 0
    said = "w.safetensors: 61 layers, 122 arrays, 4"
    assert said in capsys.readouterr().out
    plain = read_weights(out)["conv1"][0]
    assert main([*arguments, "--pixels"]) == 0
    np.testing.assert_allclose(
        read_weights(out)["conv1"][0][:, 2], plain[:, 0] / 255 / 0.229, rtol=1e-5
    )
    assert (
        main([*arguments, "--net", str(ROOT / "models/resnet18.py"), "--deploy"]) == 1
    )
    assert "--set variant=torchvision" in capsys.readouterr().err
