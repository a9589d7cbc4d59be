"""Nets for the rules of layers and options that forks of Caffe added."""

from tests.readers.value_cases import ValueCase, before, case, of

_IMAGE = (2, 3, 4, 5)

CASES: tuple[ValueCase, ...] = (
    case("relu6", of("ReLU6"), before(), x=_IMAGE),
    case("relu6-options", of("ReLU6", "negative_slope: 0.5"), before(), x=_IMAGE),
    case("shuffle-channel", of("ShuffleChannel", "group: 3"), before(), x=_IMAGE),
    case("shuffle-channel-axes", of("ShuffleChannel", "group: 3"), before(), x=(2, 6)),
    case("reorg", of("Reorg", "stride: 2"), before(), x=(2, 8, 4, 6)),
    case(
        "reorg-options",
        of("Reorg", "stride: 2 reverse: true"),
        before(),
        x=(1, 8, 3, 2),
    ),
    case("reorg-options", of("Reorg", "stride: 3"), before(), x=(1, 9, 3, 6)),
    case(
        "axpy",
        of("Axpy", bottom="a x b"),
        before(opencv="refused"),
        a=(2, 3, 1, 1),
        x=_IMAGE,
        b=_IMAGE,
    ),
    case("upsample", of("Upsample", "scale: 2"), before(opencv="refused"), x=_IMAGE),
    case("interp-size", of("Interp", "zoom_factor: 3 pad_beg: -1"), before(), x=_IMAGE),
    case(
        "dropout-scale",
        of("Dropout", "scale_train: false dropout_ratio: 0.3"),
        before(),
        x=_IMAGE,
    ),
    case(
        "depthwise-type",
        of("ConvolutionDepthwise", "kernel_size: 3 pad: 1"),
        before(),
        x=_IMAGE,
    ),
    case(
        "depthwise-type",
        of("DepthwiseConvolution", "num_output: 6 group: 3 kernel_size: 3 stride: 2"),
        before(),
        x=_IMAGE,
    ),
    case(
        "hole",
        of("Convolution", "num_output: 2 kernel_size: 2 hole: 2"),
        before(),
        x=_IMAGE,
    ),
    case(
        "batch-norm-of-forks",
        of("BatchNorm", "scale_bias: true eps: 0.1"),
        before(),
        x=_IMAGE,
    ),
    case(
        "batch-norm-of-forks",
        of("BatchNorm", "use_weight_bias: true bias_term: false"),
        before(),
        x=_IMAGE,
    ),
    case("bn", of("BN", "eps: 0.1"), before(opencv="refused"), x=_IMAGE),
    case("bn", of("BN", "bn_mode: INFERENCE"), before(opencv="refused"), x=_IMAGE),
)
