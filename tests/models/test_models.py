"""The models are the published nets, layer for layer, and the runtime takes them."""

from pathlib import Path

import pytest

import netspec
import runtime
from netspec.export import load_model
from netspec.text import parse, read_net, to_text
from netspec.upgrade import upgrade_net
from tests.reference import needs_reference, reference_dir

MODELS = Path(__file__).resolve().parents[2] / "models"
BVLC = "BVLC__caffe"
RESNET = "KaimingHe__deep-residual-networks/prototxt__ResNet"
SQUEEZENET = "forresti__SqueezeNet/SqueezeNet"
MOBILENET = "shicai__MobileNet-Caffe"
FCN = "shelhamer__fcn.berkeleyvision.org"

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
]
# Facts that stand in the papers, or follow from them.
PARAMETERS = {
    "lenet": 431_080,
    "caffenet": 60_965_224,
    "googlenet": 6_998_552,
    "cifar10_full": 89_578,
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
    net = load_model(MODELS / f"{model}.py", deploy=True)
    summary = netspec.summarize(net).as_dict()
    assert summary["num_params"] == parameters
    assert parse(to_text(net), "NetParameter") == net


def test_multiplications_of_googlenet_are_the_published_1_58_billion():
    net = load_model(MODELS / "googlenet.py", deploy=True)
    summary = netspec.summarize(net, batch_size=1).as_dict()
    assert summary["macs"] == 1_582_671_872


def test_googlenet_is_written_in_less_than_120_lines():
    net = load_model(MODELS / "googlenet.py")
    python = (MODELS / "googlenet.py").read_text().count("\n")
    assert python < 120
    assert to_text(net).count("\n") > 15 * python


def test_tied_autoencoder_has_the_parameters_of_its_encoder_and_a_bias_for_each_layer():
    shapes = {"data": (100, 1, 28, 28)}
    tied, plain = (
        load_model(MODELS / "mnist_autoencoder.py", settings=[f"tied={text}"])
        for text in ("true", "false")
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
