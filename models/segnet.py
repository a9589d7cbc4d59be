"""SegNet and SegNet-Basic for scenes of streets, in the form of their authors'.

    python -m netspec.export models/segnet.py -o segnet_train.prototxt
    python -m netspec.export models/segnet.py --deploy -o segnet_inference.prototxt
    python -m netspec.export models/segnet.py --set variant=basic --deploy

Badrinarayanan et al., SegNet, arXiv:1511.00561. Pooling tells where each maximum was,
and Upsample puts values back there, layer by layer the other way. The layers of the
encoder of the larger net are those of VGG-16. The net for use has statistics folded
into its BN layers (`bn_mode: INFERENCE`), which the authors' script computes.
"""

from typing import Any, Literal

from netspec import TRAIN, NetSpec, Top
from netspec import layers as L

Variant = Literal["vgg", "basic"]
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions


def segnet(
    variant: Variant = "vgg",
    batch_size: int = 4,
    num_classes: int = 11,
    source: str = "examples/camvid/images_lmdb",
    label_source: str = "examples/camvid/labels_lmdb",
    height: int = 360,
    width: int = 480,
) -> NetSpec:
    """Return the net for training, on images of height x width and their labels."""
    n = NetSpec(title(variant))
    reading = dict(batch_size=batch_size, backend="LMDB", include=TRAIN)
    n.data = L.Data(source=source, **reading)
    n.label = L.Data(source=label_source, **reading)
    scores = segment(n, variant, num_classes, (height, width), {})
    ignored = dict(ignore_label=11)
    n.loss = L.SoftmaxWithLoss(scores, n.label, loss_param=ignored)
    return n


def deploy(
    variant: Variant = "vgg",
    batch_size: int = 1,
    num_classes: int = 11,
    height: int = 360,
    width: int = 480,
) -> NetSpec:
    """Return the net for use: images in, probabilities of every pixel out."""
    n = NetSpec(title(variant))
    n.data = L.Input(shape=[batch_size, 3, height, width], name="input")
    folded = dict(bn_mode="INFERENCE")
    scores = segment(n, variant, num_classes, (height, width), folded)
    n.prob = L.Softmax(scores)
    return n


def title(variant: Variant) -> str:
    """Return the name of the net."""
    return "segnet" if variant == "vgg" else "segnet_basic"


def segment(
    n: NetSpec,
    variant: Variant,
    num_classes: int,
    image: tuple[int, int],
    statistics: dict[str, Any],
) -> Top:
    """Add the layers from `n.data` to the scores, which are returned."""

    def conv(name: str, x: Top, width: int, *, relu: str = "", **window: Any) -> Top:
        """Add a convolution, its BN, and a ReLU in place where it has a name."""
        learn = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
        window |= dict(weight_filler="msra", bias_filler=0, param=learn)
        n[name] = x = L.Convolution(x, num_output=width, **window)
        mild = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=1, decay_mult=0)]
        start = dict(scale_filler=1, shift_filler=0.001, param=mild)
        n[f"{name}_bn"] = x = L.BN(x, **start, **statistics, in_place=True)
        if relu:
            n[relu] = x = L.ReLU(x, in_place=True)
        return x

    def pool(number: int, x: Top) -> tuple[Top, Top]:
        """Add a pooling; return maxima and where they were."""
        window = dict(pool="MAX", kernel_size=2, stride=2, ntop=2)
        name = f"pool{number}"
        n[name], n[f"{name}_mask"] = x, mask = L.Pooling(x, **window, name=name)
        return x, mask

    sizes = [image]  # before every pooling
    for _ in STAGES[1:]:
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return (basic if variant == "basic" else vgg)(n, num_classes, conv, pool, sizes)


def vgg(n: NetSpec, num_classes: int, conv: Any, pool: Any, sizes: Any) -> Top:
    """Add the layers of the larger net."""
    x, masks, window = n.data, [], dict(kernel_size=3, pad=1)
    for stage, (width, count) in enumerate(STAGES, 1):
        for place in range(1, count + 1):
            at = f"{stage}_{place}"
            x = conv(f"conv{at}", x, width, relu=f"relu{at}", **window)
        x, mask = pool(stage, x)
        masks.append(mask)
    for stage in range(len(STAGES), 0, -1):
        width, count = STAGES[stage - 1]
        height, columns = sizes[stage - 1]
        size = dict(upsample_h=height, upsample_w=columns)
        n[f"upsample{stage}"] = x = L.Upsample(x, masks[stage - 1], **size)
        for place in range(count, 0, -1):
            at = f"{stage}_{place}_D"
            if place == 1:
                width = STAGES[stage - 2][0] if stage > 1 else num_classes
            if at == "1_1_D":
                n.conv1_1_D = L.Convolution(
                    x, num_output=num_classes, weight_filler="msra", **window
                )
                return n.conv1_1_D
            x = conv(f"conv{at}", x, width, relu=f"relu{at}", **window)
    raise AssertionError("the last stage ends with scores")


def basic(n: NetSpec, num_classes: int, conv: Any, pool: Any, sizes: Any) -> Top:
    """Add the layers of SegNet-Basic: four of 64 channels each way."""
    n.norm = x = L.LRN(n.data, local_size=5, alpha=0.0001, beta=0.75)
    masks, window = [], dict(kernel_size=7, pad=3)
    for stage in range(1, 5):
        x = conv(f"conv{stage}", x, 64, relu=f"relu{stage}", **window)
        x, mask = pool(stage, x)
        masks.append(mask)
    for stage in range(4, 0, -1):
        height, columns = sizes[stage - 1]
        size = dict(upsample_h=height, upsample_w=columns)
        n[f"upsample{stage}"] = x = L.Upsample(x, masks[stage - 1], **size)
        x = conv(f"conv_decode{stage}", x, 64, **window)
    n.conv_classifier = L.Convolution(
        x, num_output=num_classes, kernel_size=1, weight_filler="msra"
    )
    return n.conv_classifier
