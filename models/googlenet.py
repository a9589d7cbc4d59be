"""GoogLeNet, as published with Caffe. Szegedy et al., arXiv:1409.4842.

`python -m netspec.export` writes the net for training and testing, or with `--deploy`.
"""

from netspec import TEST, TRAIN, NetSpec, defaults, module, schema
from netspec import layers as L

LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, bias
MAX = dict(pool="MAX", kernel_size=3)
NORM = dict(local_size=5, alpha=0.0001, beta=0.75)
# The published net for use carries the std of other fillers, which xavier ignores.
STD = {"7x7_s2": 0.1, "1x1": 0.03, "3x3_reduce": 0.09, "3x3": 0.03, "5x5_reduce": 0.2}
STD |= {"5x5": 0.03, "pool_proj": 0.1, "conv2/3x3_reduce": 0.1}


def googlenet(
    batch_size: int = 32,
    test_batch_size: int = 50,
    num_classes: int = 1000,
    source: str = "examples/imagenet/ilsvrc12_train_lmdb",
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb",
) -> NetSpec:
    """Return the net for training and testing, with its auxiliary classifiers."""
    n = NetSpec("GoogleNet")
    train, test = (TRAIN, source, batch_size), (TEST, test_source, test_batch_size)
    for phase, path, size in (train, test):
        images = dict(mirror=phase == TRAIN, crop_size=224, mean_value=[104, 117, 123])
        reading = dict(source=path, batch_size=size, backend="LMDB", include=phase)
        n.data, n.label = L.Data(**reading, transform_param=images, ntop=2)
    trunk(n, num_classes, auxiliaries=True)
    judge(n.loss3, n.label, "loss3", loss_weight=1)
    return n


def deploy(batch_size: int = 10, num_classes: int = 1000) -> schema.NetParameter:
    """Return the net for use: images in, probabilities out."""
    n = NetSpec("GoogleNet")
    n.data = L.Input(shape=[batch_size, 3, 224, 224])
    trunk(n, num_classes)
    n.prob = L.Softmax(n.loss3.classifier)
    net = n.to_proto()
    for layer in net.layer:
        if std := STD.get(layer.name, STD.get(layer.name.rpartition("/")[2])):
            layer.convolution_param.weight_filler.std = std
    return net


@defaults(param=LEARN, weight_filler="xavier", bias_filler=0.2)
def trunk(n, num_classes, auxiliaries=False):
    """Add the layers from `n.data` to the scores, `n.loss3.classifier`."""
    x = conv(n, "conv1/7x7_s2", n.data, 64, 7, pad=3, stride=2)
    x = n["pool1/3x3_s2"] = L.Pooling(x, **MAX, stride=2)
    x = n["pool1/norm1"] = L.LRN(x, **NORM)
    x = conv(n, "conv2/3x3_reduce", x, 64, 1)
    x = conv(n, "conv2/3x3", x, 192, 3, pad=1)
    x = n["conv2/norm2"] = L.LRN(x, **NORM)
    x = n["pool2/3x3_s2"] = L.Pooling(x, **MAX, stride=2)
    x = n.inception_3a = inception(x, 64, 96, 128, 16, 32, 32)
    x = n.inception_3b = inception(x, 128, 128, 192, 32, 96, 64)
    x = n["pool3/3x3_s2"] = L.Pooling(x, **MAX, stride=2)
    x = n.inception_4a = inception(x, 192, 96, 208, 16, 48, 64)
    if auxiliaries:
        n.loss1 = auxiliary(x, num_classes)
        judge(n.loss1, n.label, "loss1", loss_weight=0.3, name="loss")
    x = n.inception_4b = inception(x, 160, 112, 224, 24, 64, 64)
    x = n.inception_4c = inception(x, 128, 128, 256, 24, 64, 64)
    x = n.inception_4d = inception(x, 112, 144, 288, 32, 64, 64)
    if auxiliaries:
        n.loss2 = auxiliary(x, num_classes)
        judge(n.loss2, n.label, "loss2", loss_weight=0.3, name="loss")
    x = n.inception_4e = inception(x, 256, 160, 320, 32, 128, 128)
    x = n["pool4/3x3_s2"] = L.Pooling(x, **MAX, stride=2)
    x = n.inception_5a = inception(x, 256, 160, 320, 32, 128, 128)
    x = n.inception_5b = inception(x, 384, 192, 384, 48, 128, 128)
    x = n["pool5/7x7_s1"] = L.Pooling(x, pool="AVE", kernel_size=7, stride=1)
    x = n["pool5/drop_7x7_s1"] = L.Dropout(x, dropout_ratio=0.4, in_place=True)
    n.loss3 = NetSpec()
    n.loss3.classifier = L.InnerProduct(x, num_output=num_classes, bias_filler=0)


@module
def inception(bottom, n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool_proj):
    """Return four towers over one input, of the given widths, side by side."""
    n = NetSpec()
    a = conv(n, "1x1", bottom, n1x1, 1)
    b = conv(n, "3x3", conv(n, "3x3_reduce", bottom, n3x3_reduce, 1), n3x3, 3, pad=1)
    c = conv(n, "5x5", conv(n, "5x5_reduce", bottom, n5x5_reduce, 1), n5x5, 5, pad=2)
    n.pool = L.Pooling(bottom, **MAX, stride=1, pad=1)
    d = conv(n, "pool_proj", n.pool, pool_proj, 1)
    n.output = L.Concat(a, b, c, d)
    return n.output


@module
def auxiliary(bottom, num_classes):
    """Return a classifier over inner features."""
    n = NetSpec()
    n.ave_pool = L.Pooling(bottom, pool="AVE", kernel_size=5, stride=3)
    n.fc = L.InnerProduct(conv(n, "conv", n.ave_pool, 128, 1), num_output=1024)
    n.relu_fc = L.ReLU(n.fc, in_place=True)
    n.drop_fc = L.Dropout(n.relu_fc, dropout_ratio=0.7, in_place=True)
    n.classifier = L.InnerProduct(n.drop_fc, num_output=num_classes, bias_filler=0)
    return n


def judge(n, label, loss, **options):
    """Add the loss of a classifier, and how often the right class is among the best."""
    n[loss] = L.SoftmaxWithLoss(n.classifier, label, **options)
    n["top-1"] = L.Accuracy(n.classifier, label, include=TEST)
    n["top-5"] = L.Accuracy(n.classifier, label, top_k=5, include=TEST)


def conv(n, name, x, width, size, **window):
    """Add a convolution `name` and its ReLU, and return what comes out."""
    n[name] = L.Convolution(x, num_output=width, kernel_size=size, **window)
    relu = "/relu_".join(("/" + name).rsplit("/", 1))[1:].removesuffix("_s2")
    n[relu] = L.ReLU(n[name], in_place=True)
    return n[relu]
