"""Options of every layer type that is written, and shapes of their bottoms."""

IMAGE = (2, 6, 5, 7)
SEQUENCE = [(3, 2, 4), (3, 2)]

# Of each type: options, shapes of bottoms, and the number of tops.
EXAMPLES = {
    "AbsVal": [("", [IMAGE], 1)],
    "ArgMax": [
        ("argmax_param { }", [IMAGE], 1),
        ("argmax_param { top_k: 4 out_max_val: true }", [IMAGE], 1),
        ("argmax_param { top_k: 3 }", [(3, 8)], 1),
        ("argmax_param { out_max_val: true }", [(2, 3, 4)], 1),
        ("argmax_param { axis: -2 }", [IMAGE], 1),
        ("argmax_param { axis: 1 top_k: 2 }", [IMAGE], 1),
        ("argmax_param { axis: 3 top_k: 3 out_max_val: true }", [IMAGE], 1),
        ("argmax_param { axis: 0 out_max_val: true }", [(4, 3)], 1),
    ],
    "BatchNorm": [
        ("batch_norm_param { eps: 0.01 }", [IMAGE], 1),
        ("batch_norm_param { }", [(3, 4)], 1),
        ("batch_norm_param { eps: 0.1 }", [(5,)], 1),
        ("batch_norm_param { }", [(2, 3, 4)], 1),
        ("batch_norm_param { eps: 0.01 }", [(2, 3, 2, 3, 4)], 1),
        ("batch_norm_param { use_global_stats: false eps: 0.1 }", [IMAGE], 1),
        ("batch_norm_param { use_global_stats: false }", [(7,)], 1),
        ("batch_norm_param { scale_bias: true }", [IMAGE], 1),
        ("batch_norm_param { scale_bias: true }", [(7,)], 1),
        ("batch_norm_param { use_weight_bias: true bias_term: false }", [IMAGE], 1),
        ("batch_norm_param { scale_bias: true use_global_stats: false }", [IMAGE], 1),
    ],
    "Axpy": [
        ("", [(2, 6, 1, 1), IMAGE, IMAGE], 1),
        ("", [(2, 6), (2, 6, 4), (2, 6, 4)], 1),
        ("", [(2, 6), (2, 6), (2, 6)], 1),
    ],
    "Interp": [
        ("interp_param { height: 9 width: 13 }", [IMAGE], 1),
        ("interp_param { zoom_factor: 8 }", [IMAGE], 1),
        ("interp_param { shrink_factor: 2 }", [IMAGE], 1),
        ("interp_param { height: 1 width: 3 pad_beg: -1 pad_end: -1 }", [IMAGE], 1),
        ("interp_param { use_blob_size: true }", [IMAGE, (1, 2, 8, 9)], 1),
    ],
    "EltwiseAffine": [
        ("", [IMAGE], 1),
        ("eltwise_affine_param { channel_shared: true }", [IMAGE], 1),
    ],
    "ReLUX": [("relux_param { negative_slope: 0.5 maximal_value: 0.7 }", [IMAGE], 1)],
    "SeLu": [("", [IMAGE], 1), ("selu_param { lambda: 2 alpha: 0.3 }", [(3, 4)], 1)],
    "SeLuDropout": [("", [IMAGE], 1)],
    "Local": [
        ("local_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 }", [IMAGE], 1),
        ("local_param { num_output: 4 kernel_size: 2 bias_term: false }", [IMAGE], 1),
    ],
    "ReLU6": [
        ("", [IMAGE], 1),
        ("relu6_param { negative_slope: 0.5 n: 0.25 }", [IMAGE], 1),
    ],
    "Reorg": [
        ("reorg_param { stride: 2 }", [(2, 8, 4, 6)], 1),
        ("reorg_param { stride: 2 reverse: true }", [(2, 12, 3, 5)], 1),
    ],
    "ShuffleChannel": [
        ("shuffle_channel_param { group: 3 }", [IMAGE], 1),
        ("shuffle_channel_param { group: 2 }", [(3, 6)], 1),
    ],
    "Upsample": [
        ("upsample_param { scale: 3 }", [IMAGE], 1),
        ("upsample_param { scale_h: 1 scale_w: 2 }", [IMAGE], 1),
    ],
    "ConvolutionDepthwise": [("convolution_param { kernel_size: 3 }", [IMAGE], 1)],
    "DepthwiseConvolution": [
        (
            "convolution_param { num_output: 12 group: 6 kernel_size: 2 hole: 2 }",
            [IMAGE],
            1,
        )
    ],
    "BN": [
        ("bn_param { eps: 0.1 }", [IMAGE], 1),
        ("bn_param {}", [(3, 4)], 1),
        ("bn_param { bn_mode: INFERENCE }", [IMAGE], 1),
        ("bn_param { bn_mode: LEARN }", [IMAGE], 1),
        ("bn_param { var_eps: 0.2 }", [(2, 3, 4)], 1),
    ],
    "BatchReindex": [("", [IMAGE, (5,)], 1)],
    "Bias": [
        ("bias_param { }", [IMAGE], 1),
        ("bias_param { axis: 2 num_axes: -1 }", [IMAGE], 1),
        ("bias_param { num_axes: 0 }", [IMAGE], 1),
        ("bias_param { axis: 1 }", [IMAGE, (6, 5)], 1),
        ("bias_param { axis: 0 }", [IMAGE, ()], 1),
    ],
    "BNLL": [("", [IMAGE], 1)],
    "Clip": [("clip_param { min: -0.5 max: 0.75 }", [IMAGE], 1)],
    "Concat": [
        ("concat_param { }", [(2, 3, 4), (2, 1, 4), (2, 2, 4)], 1),
        ("concat_param { axis: -1 }", [(2, 3, 4), (2, 3, 1)], 1),
        ("concat_param { concat_dim: 0 }", [(2, 3), (1, 3)], 1),
        ("", [(2, 3)], 1),
    ],
    "Convolution": [
        (
            (
                "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 1 "
                "stride_w: 2 pad_h: 2 pad_w: 1 group: 2 }"
            ),
            [IMAGE],
            1,
        ),
        (
            (
                "convolution_param { num_output: 3 kernel_size: 2 dilation: 2 "
                "dilation: 3 bias_term: false }"
            ),
            [IMAGE],
            1,
        ),
        ("convolution_param { num_output: 3 kernel_size: 3 }", [IMAGE, IMAGE], 2),
        (
            "convolution_param { num_output: 3 kernel_size: 3 pad: 1 }",
            [(2, 4, 9)],
            1,
        ),
        (
            (
                "convolution_param { num_output: 3 kernel_size: 2 kernel_size: 1 "
                "kernel_size: 3 stride: 2 stride: 1 stride: 1 }"
            ),
            [(2, 4, 5, 3, 6)],
            1,
        ),
        (
            "convolution_param { num_output: 3 kernel_size: 2 axis: 2 }",
            [(2, 3, 4, 5, 6)],
            1,
        ),
        ("convolution_param { num_output: 3 axis: 0 kernel_size: 2 }", [(4, 5)], 1),
        ("convolution_param { num_output: 3 }", [(4, 5)], 1),
        (
            (
                "convolution_param { num_output: 6 group: 6 kernel_size: 5 pad: 9 "
                "stride: 4 }"
            ),
            [IMAGE],
            1,
        ),
    ],
    "Crop": [
        ("crop_param { axis: 2 offset: 1 offset: 2 }", [IMAGE, (1, 1, 3, 4)], 1),
        ("crop_param { axis: -1 offset: 3 }", [IMAGE, (9, 9, 9, 4)], 1),
        ("crop_param { axis: 1 }", [IMAGE, (2, 6, 5, 7)], 1),
        ("crop_param { axis: 0 offset: 1 }", [IMAGE, (1, 5, 4, 6)], 1),
    ],
    "Deconvolution": [
        (
            (
                "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 "
                "stride_w: 3 pad_h: 1 pad_w: 0 group: 2 }"
            ),
            [IMAGE],
            1,
        ),
        (
            (
                "convolution_param { num_output: 3 kernel_size: 2 dilation: 2 "
                "stride: 2 bias_term: false }"
            ),
            [IMAGE],
            1,
        ),
        ("convolution_param { num_output: 3 kernel_size: 3 }", [IMAGE, IMAGE], 2),
        (
            (
                "convolution_param { num_output: 6 group: 6 kernel_size: 4 stride: 2 "
                "pad: 3 }"
            ),
            [IMAGE],
            1,
        ),
        (
            "convolution_param { num_output: 3 kernel_size: 2 axis: 2 stride: 2 }",
            [(2, 3, 4, 5, 6)],
            1,
        ),
        (
            "convolution_param { num_output: 2 kernel_size: 3 stride: 2 }",
            [(2, 3, 4)],
            1,
        ),
        ("convolution_param { num_output: 2 }", [(4, 5)], 1),
    ],
    "Dropout": [
        ("dropout_param { dropout_ratio: 0.7 }", [IMAGE], 1),
        ("dropout_param { dropout_ratio: 0.7 scale_train: false }", [IMAGE], 1),
    ],
    "DummyData": [
        (
            (
                "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 4 } "
                "data_filler { value: 1.5 } data_filler { value: 1.5 } }"
            ),
            [],
            2,
        )
    ],
    "Eltwise": [
        ("", [IMAGE] * 3, 1),
        ("eltwise_param { operation: PROD }", [IMAGE] * 3, 1),
        ("eltwise_param { operation: MAX }", [IMAGE] * 3, 1),
        ("eltwise_param { coeff: 1 coeff: -0.5 coeff: 2 }", [IMAGE] * 3, 1),
        ("eltwise_param { coeff: 0 coeff: -1 }", [(3,)] * 2, 1),
    ],
    "ELU": [
        ("elu_param { alpha: 0.3 }", [IMAGE], 1),
        ("elu_param { alpha: -0.5 }", [IMAGE], 1),
    ],
    "Embed": [
        ("embed_param { input_dim: 9 num_output: 4 }", [(3, 2)], 1),
        ("embed_param { input_dim: 9 num_output: 4 bias_term: false }", [(5,)], 1),
    ],
    "Exp": [
        ("", [IMAGE], 1),
        ("exp_param { base: 2 scale: -0.5 shift: 1.5 }", [IMAGE], 1),
        ("exp_param { scale: 0.5 shift: -1 }", [IMAGE], 1),
        ("exp_param { base: 1 }", [IMAGE], 1),
        ("exp_param { shift: 100 }", [IMAGE], 1),
    ],
    "Filter": [
        ("", [IMAGE, (2,)], 1),
        ("", [(7, 3), (7, 2, 2), (7, 1, 1, 1)], 2),
    ],
    "Flatten": [
        ("", [IMAGE], 1),
        ("flatten_param { axis: 2 end_axis: -1 }", [IMAGE], 1),
        ("flatten_param { axis: 0 end_axis: 1 }", [IMAGE], 1),
        ("flatten_param { axis: 2 end_axis: 1 }", [IMAGE], 1),
    ],
    "Im2col": [
        (
            "convolution_param { kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 }",
            [IMAGE],
            1,
        ),
        ("convolution_param { kernel_size: 2 dilation: 2 }", [(2, 3, 7)], 1),
        ("convolution_param { kernel_size: 2 axis: 2 }", [(2, 3, 4, 5, 6)], 1),
    ],
    "InnerProduct": [
        ("inner_product_param { num_output: 4 }", [IMAGE], 1),
        ("inner_product_param { num_output: 4 transpose: true }", [IMAGE], 1),
        (
            "inner_product_param { num_output: 4 axis: 2 bias_term: false }",
            [IMAGE],
            1,
        ),
        ("inner_product_param { num_output: 4 axis: -1 }", [IMAGE], 1),
        ("inner_product_param { num_output: 4 axis: 0 transpose: true }", [(3, 5)], 1),
        ("inner_product_param { num_output: 4 bias_term: false }", [(3, 5)], 1),
    ],
    "Log": [
        ("log_param { scale: 2 shift: 0.5 }", [IMAGE], 1),
        ("log_param { base: 10 scale: -1 shift: 4 }", [IMAGE], 1),
        ("log_param { base: 0.5 }", [IMAGE], 1),
    ],
    "LRN": [
        ("lrn_param { local_size: 3 alpha: 1.5 beta: 0.6 k: 2 }", [IMAGE], 1),
        ("lrn_param { local_size: 9 alpha: 0.5 beta: 0.75 }", [IMAGE], 1),
        ("lrn_param { local_size: 3 alpha: -0.1 beta: 0.75 k: 3 }", [IMAGE], 1),
        ("lrn_param { local_size: 5 alpha: 0 beta: -0.5 k: 2 }", [IMAGE], 1),
        (
            (
                "lrn_param { local_size: 3 alpha: 1.5 beta: 0.6 k: 2 "
                "norm_region: WITHIN_CHANNEL }"
            ),
            [IMAGE],
            1,
        ),
        ("lrn_param { local_size: 13 norm_region: WITHIN_CHANNEL }", [IMAGE], 1),
    ],
    "LSTM": [
        ("recurrent_param { num_output: 3 }", SEQUENCE, 1),
        ("recurrent_param { num_output: 3 }", [*SEQUENCE, (2, 5)], 1),
        (
            "recurrent_param { num_output: 3 expose_hidden: true }",
            [(3, 2, 2, 2), (3, 2), (1, 2, 3), (1, 2, 3)],
            3,
        ),
        (
            "recurrent_param { num_output: 3 expose_hidden: true }",
            [*SEQUENCE, (2, 5), (1, 2, 3), (1, 2, 3)],
            3,
        ),
        ("recurrent_param { num_output: 2 }", [(1, 1, 4), (1, 1)], 1),
    ],
    "LSTMUnit": [("", [(1, 2, 3), (1, 2, 12), (1, 2)], 2)],
    "MVN": [
        ("", [IMAGE], 1),
        ("mvn_param { normalize_variance: false }", [IMAGE], 1),
        ("mvn_param { across_channels: true eps: 0.1 }", [IMAGE], 1),
        ("mvn_param { across_channels: true }", [(3, 7)], 1),
    ],
    "Parameter": [("parameter_param { shape { dim: 2 dim: 3 } }", [], 1)],
    "Pooling": [
        ("pooling_param { pool: MAX kernel_size: 3 stride: 2 }", [IMAGE], 1),
        ("pooling_param { pool: MAX kernel_size: 2 stride: 3 pad: 1 }", [IMAGE], 1),
        ("pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }", [IMAGE], 2),
        ("pooling_param { pool: MAX kernel_size: 1 stride: 6 }", [IMAGE], 1),
        ("pooling_param { pool: MAX kernel_size: 1 stride: 6 }", [IMAGE], 2),
        (
            (
                "pooling_param { pool: MAX kernel_h: 3 kernel_w: 2 stride_h: 2 "
                "stride_w: 3 round_mode: FLOOR }"
            ),
            [IMAGE],
            1,
        ),
        ("pooling_param { pool: AVE kernel_size: 3 stride: 2 }", [(2, 3, 6, 8)], 1),
        (
            "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
            [(2, 3, 6, 8)],
            1,
        ),
        ("pooling_param { pool: AVE kernel_size: 4 stride: 3 pad: 2 }", [IMAGE], 1),
        ("pooling_param { pool: AVE global_pooling: true }", [IMAGE], 1),
        ("pooling_param { pool: MAX global_pooling: true }", [IMAGE], 1),
        (
            "pooling_param { pool: AVE kernel_size: 2 stride: 2 round_mode: FLOOR }",
            [IMAGE],
            1,
        ),
    ],
    "Power": [
        ("power_param { power: 2 scale: 0.5 shift: -1 }", [IMAGE], 1),
        ("power_param { power: 0.5 scale: -1 shift: 3 }", [IMAGE], 1),
        ("power_param { power: -1.5 shift: 4 }", [IMAGE], 1),
        ("power_param { scale: 3 shift: 0.5 }", [IMAGE], 1),
        ("power_param { power: 3 scale: 0 shift: -2 }", [IMAGE], 1),
        ("power_param { power: 0 }", [IMAGE], 1),
        ("power_param { power: -1 scale: 0 }", [IMAGE], 1),
        ("power_param { power: 98 scale: 0 shift: -1e9 }", [IMAGE], 1),
        ("power_param { power: 0.5 scale: 0 shift: -2 }", [IMAGE], 1),
        ("", [IMAGE], 1),
    ],
    "PReLU": [
        ("", [IMAGE], 1),
        ("", [(2, 7, 5, 7)], 1),  # as many columns as channels
        ("", [(3, 4)], 1),
        ("prelu_param { channel_shared: true }", [IMAGE], 1),
    ],
    "Reduction": [
        ("reduction_param { axis: 1 coeff: 2 }", [IMAGE], 1),
        ("reduction_param { axis: -2 operation: MEAN }", [IMAGE], 1),
        ("reduction_param { operation: ASUM coeff: -0.5 }", [IMAGE], 1),
        ("reduction_param { axis: 2 operation: SUMSQ }", [IMAGE], 1),
    ],
    "ReLU": [
        ("", [IMAGE], 1),
        ("relu_param { negative_slope: 0.3 }", [IMAGE], 1),
        ("relu_param { negative_slope: -0.3 }", [IMAGE], 1),
    ],
    "Reshape": [
        ("reshape_param { shape { dim: 0 dim: 3 dim: -1 dim: 5 } }", [IMAGE], 1),
        ("reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 2 }", [IMAGE], 1),
        ("reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", [IMAGE], 1),
        ("reshape_param { shape { } axis: 0 }", [(1, 1)], 1),
    ],
    "RNN": [
        ("recurrent_param { num_output: 3 }", SEQUENCE, 1),
        (
            "recurrent_param { num_output: 3 expose_hidden: true }",
            [*SEQUENCE, (2, 5), (1, 2, 3)],
            2,
        ),
    ],
    "Scale": [
        ("scale_param { bias_term: true }", [IMAGE], 1),
        ("scale_param { axis: -2 num_axes: 2 }", [IMAGE], 1),
        ("scale_param { axis: 0 num_axes: 2 bias_term: true }", [IMAGE], 1),
        ("scale_param { num_axes: 0 bias_term: true }", [IMAGE], 1),
        ("scale_param { num_axes: -1 axis: 1 }", [IMAGE], 1),
        ("scale_param { axis: 0 }", [IMAGE, (2, 6)], 1),
        ("scale_param { axis: 2 bias_term: true }", [IMAGE, (5,)], 1),
        ("scale_param { axis: 0 }", [IMAGE, IMAGE], 1),
        ("scale_param { axis: 0 bias_term: true }", [IMAGE, ()], 1),
    ],
    "Sigmoid": [("", [IMAGE], 1)],
    "Silence": [],  # below
    "Slice": [
        ("slice_param { }", [IMAGE], 3),
        ("slice_param { axis: -1 slice_point: 2 slice_point: 3 }", [IMAGE], 3),
        ("slice_param { slice_dim: 0 }", [IMAGE], 2),
        ("slice_param { axis: 1 }", [IMAGE], 1),
    ],
    "Softmax": [
        ("", [IMAGE], 1),
        ("softmax_param { axis: -2 }", [IMAGE], 1),
        ("softmax_param { axis: 0 }", [(4,)], 1),
    ],
    "Split": [("", [IMAGE], 3)],
    "SPP": [
        ("spp_param { pyramid_height: 3 pool: MAX }", [(2, 3, 9, 11)], 1),
        ("spp_param { pyramid_height: 2 pool: AVE }", [IMAGE], 1),
        ("spp_param { pyramid_height: 1 pool: AVE }", [IMAGE], 1),
    ],
    "Swish": [("swish_param { beta: 1.7 }", [IMAGE], 1), ("", [IMAGE], 1)],
    "TanH": [("", [IMAGE], 1)],
    "Threshold": [("threshold_param { threshold: 0.25 }", [IMAGE], 1)],
    "Tile": [
        ("tile_param { tiles: 3 }", [IMAGE], 1),
        ("tile_param { axis: -1 tiles: 2 }", [(2, 3, 4)], 1),
    ],
}
# Tested against references of their own: the runtime has no arithmetic for them.
