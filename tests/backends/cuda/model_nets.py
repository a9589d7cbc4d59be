"""Models of this project with inputs in the place of data, small enough for tests."""

from __future__ import annotations

from pathlib import Path

from netspec.commands.model_files import load_model
from netspec.nets.current import current
from netspec.nets.filter import filter_net, merge_state
from netspec.schema import TRAIN, NetParameter

MODELS = Path(__file__).parents[3] / "models"
CLASSES = 10


def train_net(
    model: str, batch: int, image: tuple[int, ...], narrower: int = 1
) -> NetParameter:
    """Return the train net of a model, over images of a size.

    narrower: what widths of convolutions are divided by. The last pooling is over all
    of the image, however small it is.
    """
    path = MODELS / f"{model}.py"
    net = current(load_model(path, batch_size=batch, num_classes=CLASSES))
    net = filter_net(net, merge_state(net, TRAIN))
    layers = [layer for layer in net.layer if layer.bottom]
    del net.layer[:]
    for top, shape in (("data", [batch, *image]), ("label", [batch])):
        added = net.layer.add(name=top, type="Input", top=[top])
        added.input_param.shape.add(dim=shape)
    net.layer.extend(layers)
    for layer in net.layer:
        if layer.type == "Convolution":
            layer.convolution_param.num_output //= narrower
        if layer.type == "Pooling" and layer.pooling_param.kernel_size == 7:
            layer.pooling_param.Clear()
            layer.pooling_param.pool = layer.pooling_param.AVE
            layer.pooling_param.global_pooling = True
    return net
