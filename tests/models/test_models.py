"""The models are the published nets, layer for layer, and the runtime takes them."""

from pathlib import Path

import numpy as np
import pytest

import netspec
import runtime
from netspec.commands.model_files import load_model
from netspec.nets.upgrade import upgrade_net
from netspec.schema import SolverParameter
from netspec.text import parse, read_net, to_text
from tests.reference import needs_reference, reference_dir

MODELS = Path(__file__).resolve().parents[2] / "models"
BVLC = "BVLC__caffe"
RESNET = "KaimingHe__deep-residual-networks/prototxt__ResNet"
SQUEEZENET = "forresti__SqueezeNet/SqueezeNet"
MOBILENET = "shicai__MobileNet-Caffe"
FCN = "shelhamer__fcn.berkeleyvision.org"
PSPNET = "hszhao__PSPNet"
LRCN = "LisaAnne__lisa-caffe-public/examples__LRCN_activity_recognition"
RFCN = "soeaver__caffe-model/det__rfcn__models__pascal_voc__resnet18"
CAPTION = f"{BVLC}/pr2033__examples__coco_caption"

PUBLISHED = [
    ("googlenet", False, f"{BVLC}/models__bvlc_googlenet__train_val"),
    ("googlenet", True, f"{BVLC}/models__bvlc_googlenet__deploy"),
    ("lenet", False, f"{BVLC}/examples__mnist__lenet_train_test"),
    ("lenet", True, f"{BVLC}/examples__mnist__lenet"),
    ("caffenet", False, f"{BVLC}/models__bvlc_reference_caffenet__train_val"),
    ("caffenet", True, f"{BVLC}/models__bvlc_reference_caffenet__deploy"),
    ("cifar10_full", False, f"{BVLC}/examples__cifar10__cifar10_full_train_test"),
    ("cifar10_full", True, f"{BVLC}/examples__cifar10__cifar10_full"),
    ("mnist_autoencoder", False, f"{BVLC}/examples__mnist__mnist_autoencoder"),
    ("mnist_siamese", False, f"{BVLC}/examples__siamese__mnist_siamese_train_test"),
    ("mnist_siamese", True, f"{BVLC}/examples__siamese__mnist_siamese"),
    ("alexnet", False, f"{BVLC}/models__bvlc_alexnet__train_val"),
    ("alexnet", True, f"{BVLC}/models__bvlc_alexnet__deploy"),
    ("cifar10_quick", False, f"{BVLC}/examples__cifar10__cifar10_quick_train_test"),
    ("cifar10_quick", True, f"{BVLC}/examples__cifar10__cifar10_quick"),
    ("resnet50", True, f"{RESNET}-50-deploy"),
    ("resnet101", True, f"{RESNET}-101-deploy"),
    ("resnet152", True, f"{RESNET}-152-deploy"),
    ("squeezenet version=1.0", False, f"{SQUEEZENET}_v1.0__train_val"),
    ("squeezenet version=1.0", True, f"{SQUEEZENET}_v1.0__deploy"),
    ("squeezenet", False, f"{SQUEEZENET}_v1.1__train_val"),
    ("squeezenet", True, f"{SQUEEZENET}_v1.1__deploy"),
    ("mobilenet", True, f"{MOBILENET}/mobilenet_deploy"),
    ("mobilenet_v2", True, f"{MOBILENET}/mobilenet_v2_deploy"),
    ("fcn32s", False, f"{FCN}/voc-fcn32s__train"),
    ("fcn32s split=seg11valid", False, f"{FCN}/voc-fcn32s__val"),
    ("fcn16s", False, f"{FCN}/voc-fcn16s__train"),
    ("fcn16s split=seg11valid", False, f"{FCN}/voc-fcn16s__val"),
    ("fcn8s", False, f"{FCN}/voc-fcn8s__train"),
    ("fcn8s split=seg11valid", False, f"{FCN}/voc-fcn8s__val"),
    ("fcn8s", True, f"{FCN}/voc-fcn8s__deploy"),
    ("fast_rcnn", False, "rbgirshick__fast-rcnn/models__VGG16__train"),
    ("fast_rcnn", True, "rbgirshick__fast-rcnn/models__VGG16__test"),
    ("rfcn depth=18", False, f"{RFCN}__rfcn_voc_resnet18-priv-merge-ohem"),
    ("rfcn depth=18", True, f"{RFCN}__deploy_rfcn_voc_resnet18-priv-merge"),
    ("pspnet", True, f"{PSPNET}/evaluation__prototxt__pspnet50_ADE20K_473"),
    ("lrcn", False, f"{LRCN}__train_test_lstm_RGB"),
    ("lrcn kind=flow", False, f"{LRCN}__train_test_lstm_flow"),
    ("lrcn", True, f"{LRCN}__deploy_lstm"),
    ("lstm_language_model", False, f"{CAPTION}__lstm_language_model"),
    ("lstm_language_model", True, f"{CAPTION}__lstm_lm.deploy"),
]
# Facts that stand in the papers, or follow from them.
PARAMETERS = {
    "lenet": 431_080,
    "caffenet": 60_965_224,
    "googlenet": 6_998_552,
    "cifar10_full": 89_578,
    "alexnet": 60_965_224,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "nin": 7_595_176,
    "squeezenet version=1.0": 1_248_424,
    "squeezenet": 1_235_496,
    "cifar10_quick": 145_578,
    "ssd300": 26_285_486,
    "ssd512": 27_188_676,
    "mobilenet_ssd": 5_783_417,
    "fast_rcnn": 138_357_544 + (21 + 84 - 1000) * 4097,
    "mnist_autoencoder_tied": 1_420_814,
    # As Fast R-CNN, and 3 x 3 over 512 channels, 18 scores and 36 deltas.
    "faster_rcnn proposal=compiled": 138_357_544
    + (21 + 84 - 1000) * 4097
    + 512 * (9 * 512 + 1)
    + 54 * 513,
    "segnet": 29_449_355,
}
# Those of nets with BatchNorm, without the statistics, which are no parameters there.
LEARNED = {
    "resnet18": 11_689_512,
    "resnet depth=34": 21_797_672,
    "resnet50": 25_557_032 + 64,  # its first convolution has a bias
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "densenet": 7_978_856,
    "densenet depth=161": 28_681_000,
    "densenet depth=169": 14_149_480,
    "densenet depth=201": 20_013_928,
    "senet": 28_088_024,
    "senet depth=101": 49_326_872,
    "senet depth=152": 66_821_848,
    "senet kind=resnext": 27_559_896,
    "senet kind=resnext depth=101": 48_955_416,
    "mobilenet": 4_231_976,
    "mobilenet_v2": 3_504_872 + 32 * 32 + 2 * 32,  # expands in its first block too
}
# Of nets for use that come folded, or whose shapes only code in Python knows.
SETTINGS = {
    "mobilenet_ssd": "folded=false",
    "faster_rcnn": "proposal=compiled",
    "rfcn": "proposal=compiled",
}
# Shapes of data where they are not those of an image and its label.
SENTENCES = ("cont_sentence", "input_sentence", "target_sentence")
STEPS = dict.fromkeys(("cont", "input", "target"), (20, 16))
SEGMENTS = dict(data=(1, 3, 300, 420), label=(1, 1, 300, 420))
PROPOSED = dict(
    data=(1, 3, 160, 224),
    im_info=(1, 3),
    gt_boxes=(4, 5),
    rpn_labels=(1, 1, 90, 14),
    rpn_bbox_targets=(1, 36, 10, 14),
    rpn_bbox_inside_weights=(1, 36, 10, 14),
    rpn_bbox_outside_weights=(1, 36, 10, 14),
    rpn_rois=(5, 5),
)
DATA = {
    "fcn8s": SEGMENTS,
    "fcn16s": SEGMENTS,
    "fcn32s": SEGMENTS,
    "pspnet": dict(data=(1, 3, 473, 473), label=(1, 1, 473, 473)),
    "segnet": dict(data=(1, 3, 360, 480), label=(1, 1, 360, 480)),
    "fast_rcnn": dict(
        data=(2, 3, 160, 224),
        rois=(128, 5),
        labels=(128,),
        bbox_targets=(128, 84),
        bbox_loss_weights=(128, 84),
    ),
    "faster_rcnn": dict(
        **PROPOSED,
        rois=(9, 5),
        labels=(9,),
        bbox_targets=(9, 84),
        bbox_inside_weights=(9, 84),
        bbox_outside_weights=(9, 84),
    ),
    "rfcn": dict(
        **PROPOSED,
        rois=(9, 5, 1, 1),
        labels=(9, 1, 1, 1),
        bbox_targets=(9, 8, 1, 1),
        bbox_inside_weights=(9, 8, 1, 1),
        bbox_outside_weights=(9, 8, 1, 1),
    ),
    "ssd300": dict(data=(2, 3, 300, 300), label=(1, 1, 5, 8)),
    "ssd512": dict(data=(2, 3, 512, 512), label=(1, 1, 5, 8)),
    "mobilenet_ssd": dict(data=(2, 3, 300, 300), label=(1, 1, 5, 8)),
    "ssd_shapes": dict(data=(2, 3, 64, 64), label=(1, 1, 5, 8)),
    "lstm_sequence": STEPS,
    "unrolled_rnn": STEPS,
    "lstm_language_model": dict.fromkeys(SENTENCES, (20, 16)),
    "lrcn": dict(data=(384, 3, 227, 227), label=(384,), clip_markers=(384,)),
    "mnist_siamese": dict(pair_data=(2, 2, 28, 28), sim=(2,)),
    "mnist_autoencoder": dict(data=(2, 1, 28, 28)),
    "mnist_autoencoder_tied": dict(data=(2, 1, 28, 28)),
}


def load(model, **options):
    """Return the net of a model; words after its name are settings."""
    name, *settings = model.split()
    return load_model(MODELS / f"{name}.py", settings=settings, **options)


@needs_reference
@pytest.mark.parametrize(("model", "deploy", "published"), PUBLISHED)
def test_model_is_the_published_net(model, deploy, published):
    path = reference_dir() / "zoo" / f"{published}.prototxt"
    wanted = upgrade_net(read_net(path))
    assert load(model, deploy=deploy) == wanted


@pytest.mark.parametrize(("model", "parameters"), PARAMETERS.items())
def test_net_for_use_has_the_published_number_of_parameters(model, parameters):
    net = load(model, deploy=True)
    summary = netspec.summarize(net).as_dict()
    assert summary["num_params"] == parameters
    assert parse(to_text(net), "NetParameter") == net


@pytest.mark.parametrize(("model", "parameters"), LEARNED.items())
def test_net_for_use_learns_the_published_number_of_parameters(model, parameters):
    layers = netspec.summarize(load(model, deploy=True)).as_dict()["layers"]
    learned = [row for row in layers if row["type"] != "BatchNorm"]
    assert sum(row["num_params"] for row in learned) == parameters


def with_inputs(model, shapes, *settings):
    """Return the train net of a model with Input layers in the place of its data."""
    net = load(" ".join((model, *settings)), phase=netspec.TRAIN)
    layers = [layer for layer in net.layer if not set(layer.top) & set(shapes)]
    del net.layer[:]
    for name, shape in shapes.items():
        layer = net.layer.add(name=name, type="Input", top=[name])
        layer.input_param.shape.add(dim=shape)
    net.layer.extend(layers)
    return net


def has_deploy(model):
    return "\ndef deploy(" in (MODELS / f"{model}.py").read_text()


@pytest.mark.parametrize("model", sorted(path.stem for path in MODELS.glob("*.py")))
def test_net_for_training_learns_all_that_the_net_for_use_needs(model):
    used = {}
    shapes = DATA.get(model)
    if has_deploy(model):
        net = load(f"{model} {SETTINGS.get(model, '')}", deploy=True)
        assert parse(to_text(net), "NetParameter") == net
        used = netspec.summarize(net).as_dict()["params"]
        image = net.layer[0].input_param.shape[0].dim[1:]
        shapes = shapes or dict(data=(2, *image), label=(2,))
    train = netspec.summarize(with_inputs(model, shapes), netspec.TRAIN).as_dict()
    assert any("loss" in name for name in train["outputs"])
    assert used.items() <= train["params"].items()


def test_multiplications_of_googlenet_are_the_published_1_58_billion():
    net = load_model(MODELS / "googlenet.py", deploy=True)
    summary = netspec.summarize(net, batch_size=1).as_dict()
    assert summary["macs"] == 1_582_671_872


def test_multiplications_of_shufflenet_are_the_published_137_million():
    summary = netspec.summarize(load("shufflenet", deploy=True)).as_dict()
    assert round(summary["macs"] / 1e6) == 137


def test_pspnet_of_101_layers_has_17_blocks_more_than_that_of_50():
    more, fewer = (
        netspec.summarize(load(f"pspnet depth={depth}", deploy=True)).as_dict()
        for depth in (101, 50)
    )
    assert more["blobs"]["conv6_interp"] == [1, 150, 473, 473]
    block = (2 * 1024 * 256 + 9 * 256 * 256) + 4 * (2 * 256 + 1024)
    assert more["num_params"] - fewer["num_params"] == 17 * block


PIXELS = dict(data=(2, 3, 49, 49), label=(2, 1, 49, 49))
SMALL_IMAGES = dict(data=(4, 3, 33, 33), label=(4,))
STREETS = dict(data=(2, 3, 45, 70), label=(2, 1, 45, 70))
SMALL = [
    ("densenet", "num_classes=5", SMALL_IMAGES),
    ("senet", "num_classes=5", SMALL_IMAGES),
    ("shufflenet", "num_classes=5", SMALL_IMAGES),
    ("pspnet", "num_classes=5 size=49", PIXELS),
    ("segnet", "num_classes=5 height=45 width=70", STREETS),
    ("segnet", "num_classes=5 height=45 width=70 variant=basic", STREETS),
]


@pytest.mark.parametrize(("model", "settings", "shapes"), SMALL)
def test_nets_of_forks_run_forward_and_backward(model, settings, shapes):
    net = runtime.Net(with_inputs(model, shapes, *settings.split()), netspec.TRAIN)
    rng = np.random.default_rng(4)
    net.blobs["data"].data[...] = rng.normal(size=shapes["data"]) * 50
    net.blobs["label"].data[...] = rng.integers(0, 5, size=shapes["label"])
    loss = float(net.forward()["loss"])
    assert 0.2 < loss < 40
    net.backward()
    for name, blobs in net.params.items():
        weights = blobs[0]
        if weights.data.ndim == 4 and weights.data.shape[0] > 1:
            assert np.isfinite(weights.diff).all(), name
            assert weights.diff.any(), name


def test_googlenet_is_written_in_less_than_120_lines():
    net = load_model(MODELS / "googlenet.py")
    python = (MODELS / "googlenet.py").read_text().count("\n")
    assert python < 120
    assert to_text(net).count("\n") > 15 * python


def test_tied_autoencoder_has_the_parameters_of_its_encoder_and_a_bias_for_each_layer():
    shapes = {"data": (100, 1, 28, 28)}
    tied, plain = (
        load_model(MODELS / f"mnist_autoencoder{suffix}.py", phase=netspec.TRAIN)
        for suffix in ("_tied", "")
    )
    numbers = [
        netspec.summarize(net, phase=netspec.TRAIN, shapes=shapes).as_dict()[
            "num_params"
        ]
        for net in (tied, plain)
    ]
    assert numbers == [1_420_814, 2_837_314]


@pytest.mark.parametrize("model", ["lenet", "cifar10_full", "mnist_siamese"])
def test_runtime_runs_the_net_for_use(model):
    net = runtime.Net(load_model(MODELS / f"{model}.py", deploy=True), runtime.TEST)
    outputs = net.forward()
    assert outputs
    assert all((array == array).all() for array in outputs.values())


def train(net, arrays, steps, lr=0.01):
    """Return the first and the last loss of a net that learns a single batch.

    The last is the median of the last third: where Adam overshoots, and so any single
    loss, depends on how a processor rounds.
    """
    solver = runtime.get_solver(
        SolverParameter(net_param=net, base_lr=lr, lr_policy="fixed", type="Adam")
    )
    for name, array in arrays.items():
        solver.net.blobs[name].data[...] = array
    solver.step(steps)
    losses = [record.loss for record in solver.history.train]
    return losses[0], np.median(losses[-steps // 3 :])


def images(classes, size):
    """Return images of noise, each class with a bright row of its own."""
    rng = np.random.default_rng(7)
    label = np.arange(classes * 2) % classes
    data = rng.normal(size=(len(label), 3, size, size))
    for image, row in zip(data, label, strict=True):
        image[:, 3 * row] += 3
    return dict(data=data, label=label)


@pytest.mark.parametrize("model", ["cifar10_quick", "cifar10_local"])
def test_runtime_trains_the_net_on_images(model):
    arrays = images(classes=10, size=32)
    shapes = {name: array.shape for name, array in arrays.items()}
    first, last = train(with_inputs(model, shapes), arrays, steps=30, lr=0.0003)
    assert first == pytest.approx(np.log(10), rel=0.05)
    assert last < 0.5 * first


def test_runtime_trains_the_tied_autoencoder_on_digits():
    digits = np.random.default_rng(3).uniform(size=(8, 1, 28, 28)) > 0.6
    net = with_inputs("mnist_autoencoder_tied", dict(data=digits.shape))
    first, last = train(net, dict(data=digits), steps=12)
    assert last < 0.7 * first


def echoes(steps, streams, symbols):
    """Return symbols, and as targets those one step before within each sequence."""
    rng = np.random.default_rng(5)
    shown = rng.integers(symbols, size=(steps, streams))
    cont = rng.uniform(size=shown.shape) > 0.2
    cont[0] = False
    target = np.where(cont, np.roll(shown, 1, axis=0), -1)
    return {"cont": cont, "input": shown, "target": target}


@pytest.mark.parametrize(
    "model", ["lstm_sequence", "unrolled_rnn", "unrolled_rnn cell=rnn"]
)
def test_runtime_trains_the_net_on_sequences(model):
    arrays = echoes(steps=7, streams=16, symbols=5)
    first, last = train(sequence_net(model, arrays), arrays, steps=60, lr=0.03)
    assert first == pytest.approx(np.log(5), rel=0.05)
    assert last < 0.3 * first


def sequence_net(model, arrays):
    """Return the train net of a model of sequences, for these data."""
    steps, streams = arrays["input"].shape
    settings = [f"batch_size={steps}", "symbols=5", "width=12"]
    if "unrolled" in model:
        settings.append(f"streams={streams}")
    return with_inputs(model, dict.fromkeys(arrays, (steps, streams)), *settings)


def test_unrolled_steps_are_the_lstm_layer_and_share_its_weights():
    arrays = echoes(steps=7, streams=3, symbols=5)
    layer, unrolled = (
        runtime.Net(sequence_net(model, arrays), netspec.TRAIN)
        for model in ("lstm_sequence", "unrolled_rnn")
    )
    weights = layer.params["h"]
    places = [("x", 0), ("x", 1), ("step0/recurrent", 0)]
    places = [unrolled.params[name][slot] for name, slot in places]
    assert len(layer.flat.data) == len(unrolled.flat.data)
    for blob, other in zip(weights, places, strict=True):
        other.data[...] = blob.data
    for name in ("embedded", "scores"):
        for blob, other in zip(layer.params[name], unrolled.params[name], strict=True):
            other.data[...] = blob.data
    for net in (layer, unrolled):
        for name, array in arrays.items():
            net.blobs[name].data[...] = array
        net.forward()
        net.backward()
    np.testing.assert_allclose(unrolled.blobs["h"].data, layer.blobs["h"].data, 1e-5)
    for blob, other in zip(weights, places, strict=True):
        np.testing.assert_allclose(other.diff, blob.diff, rtol=1e-4, atol=1e-7)


def test_unrolled_simple_recurrence_is_its_formula():
    arrays = echoes(steps=4, streams=3, symbols=5)
    net = runtime.Net(sequence_net("unrolled_rnn cell=rnn", arrays), netspec.TRAIN)
    for name, array in arrays.items():
        net.blobs[name].data[...] = array
    net.forward()
    weights = net.params["step0/recurrent"][0].data
    h, wanted = np.zeros((3, 12)), []
    for x, cont in zip(net.blobs["x"].data, arrays["cont"], strict=True):
        h = np.tanh(x + (cont[:, None] * h) @ weights.T)
        wanted.append(h)
    np.testing.assert_allclose(net.blobs["h"].data, wanted, rtol=1e-5)


def test_locally_connected_layer_has_filters_for_every_place():
    net = runtime.Net(load("cifar10_local batch_size=2", deploy=True), runtime.TEST)
    rng = np.random.default_rng(9)
    net.blobs["data"].data[...] = rng.normal(size=(2, 3, 32, 32))
    weights, bias = net.params["local3/filters"]
    bias.data[...] = rng.normal(size=bias.data.shape)
    net.forward()
    x, y = net.blobs["pool2"].data, net.blobs["local3/output"].data
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    filters = weights.data.reshape(8, 8, 64, 64, 3, 3)  # row, column, output, input
    wanted = np.empty_like(y)
    for row, column in np.ndindex(8, 8):
        window = padded[:, :, row : row + 3, column : column + 3]
        wanted[:, :, row, column] = np.einsum(
            "nckl,ockl->no", window, filters[row, column]
        )
    wanted += bias.data.reshape(8, 8, 64).transpose(2, 0, 1)
    np.testing.assert_allclose(y, np.maximum(wanted, 0), rtol=1e-4, atol=1e-4)
