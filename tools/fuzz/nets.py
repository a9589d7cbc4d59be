"""Nets and solvers to be damaged: together they have most layer types and options."""

CONVOLUTIONAL = """
name: "convolutional"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 7 } shape { dim: 2 }
    data_filler { type: "gaussian" std: 0.5 } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 1 group: 1
    weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn"
  batch_norm_param { moving_average_fraction: 0.9 eps: 1e-4 } }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn"
  scale_param { bias_term: true axis: 1 } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn"
  relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "norm" type: "LRN" bottom: "pool" top: "norm"
  lrn_param { local_size: 3 alpha: 1e-3 beta: 0.75 norm_region: ACROSS_CHANNELS } }
layer { name: "side" type: "Convolution" bottom: "norm" top: "side"
  convolution_param { num_output: 4 kernel_h: 1 kernel_w: 1 dilation: 1 engine: CAFFE
  } }
layer { name: "sum" type: "Eltwise" bottom: "norm" bottom: "side" top: "sum"
  eltwise_param { operation: SUM coeff: 1 coeff: -0.5 } }
layer { name: "both" type: "Concat" bottom: "sum" bottom: "norm" top: "both"
  concat_param { axis: 1 } }
layer { name: "drop" type: "Dropout" bottom: "both" top: "both"
  dropout_param { dropout_ratio: 0.3 } include { phase: TRAIN } }
layer { name: "up" type: "Deconvolution" bottom: "both" top: "up"
  convolution_param { num_output: 2 kernel_size: 2 stride: 2 bias_term: false } }
layer { name: "cut" type: "Crop" bottom: "up" bottom: "norm" top: "cut"
  crop_param { axis: 2 offset: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "both" top: "ip"
  inner_product_param { num_output: 5 axis: 1 transpose: false
    weight_filler { type: "gaussian" std: 0.01 sparse: 3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
  loss_weight: 1 loss_param { ignore_label: 9 normalization: VALID }
  softmax_param { axis: 1 } }
layer { name: "right" type: "Accuracy" bottom: "ip" bottom: "label" top: "right"
  include { phase: TEST stage: "deep" } accuracy_param { top_k: 2 } }
layer { name: "hush" type: "Silence" bottom: "cut" }
"""

SHAPED = """
name: "shaped"
layer { name: "in" type: "Input" top: "x" top: "ids"
  input_param { shape { dim: [3, 4, 6] } shape { dim: [3, 4] } } }
layer { name: "words" type: "Embed" bottom: "ids" top: "words"
  embed_param { input_dim: 10 num_output: 6 bias_term: true } }
layer { name: "add" type: "Eltwise" bottom: "x" bottom: "words" top: "add" }
layer { name: "cont" type: "DummyData" top: "cont"
  dummy_data_param { shape { dim: 3 dim: 4 } data_filler { value: 1 } } }
layer { name: "lstm" type: "LSTM" bottom: "add" bottom: "cont" top: "lstm"
  recurrent_param { num_output: 5 weight_filler { type: "uniform" min: -0.1 max: 0.1
  } } }
layer { name: "flat" type: "Reshape" bottom: "lstm" top: "flat"
  reshape_param { shape { dim: 0 dim: -1 } axis: 0 num_axes: -1 } }
layer { name: "parts" type: "Slice" bottom: "flat" top: "p" top: "q"
  slice_param { axis: 1 slice_point: 8 } }
layer { name: "tile" type: "Tile" bottom: "p" top: "tile" tile_param { axis: 1 tiles:
  2 } }
layer { name: "power" type: "Power" bottom: "tile" top: "power"
  power_param { power: 2 scale: 0.5 shift: 1 } }
layer { name: "exp" type: "Exp" bottom: "power" top: "power" exp_param { base: 2 } }
layer { name: "prelu" type: "PReLU" bottom: "q" top: "q"
  prelu_param { channel_shared: true } }
layer { name: "bias" type: "Bias" bottom: "q" top: "q" bias_param { axis: 1 num_axes:
  1 } }
layer { name: "max" type: "ArgMax" bottom: "q" top: "max"
  argmax_param { top_k: 2 out_max_val: true } }
layer { name: "mean" type: "Reduction" bottom: "power" top: "mean"
  reduction_param { operation: SUMSQ axis: 1 coeff: 0.1 } }
layer { name: "mvn" type: "MVN" bottom: "x" top: "mvn" mvn_param { across_channels:
  true } }
layer { name: "turn" type: "Permute" bottom: "mvn" top: "turn"
  permute_param { order: 0 order: 2 order: 1 } }
layer { name: "two" type: "Split" bottom: "turn" top: "t1" top: "t2" }
layer { name: "distance" type: "EuclideanLoss" bottom: "t1" bottom: "t2" top:
  "distance" }
layer { name: "hinge" type: "SmoothL1Loss" bottom: "t1" bottom: "t2" top: "hinge"
  loss_weight: 0.5 smooth_l1_loss_param { sigma: 2 } }
"""

OLD = """
name: "old" input: "data" input_dim: 2 input_dim: 3 input_dim: 6 input_dim: 6
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1
  blobs_lr: 2
  weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool" top: "ip"
  inner_product_param { num_output: 3 } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
"""

BOXES = """
name: "boxes"
layer { name: "in" type: "Input" top: "image" top: "map" top: "loc" top: "conf"
  input_param { shape { dim: [1, 3, 30, 30] } shape { dim: [1, 4, 2, 2] }
    shape { dim: [1, 48] } shape { dim: [1, 36] } } }
layer { name: "prior" type: "PriorBox" bottom: "map" bottom: "image" top: "prior"
  prior_box_param { min_size: 6 max_size: 12 aspect_ratio: 2 flip: false clip: true
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 offset: 0.5 } }
layer { name: "shape" type: "Reshape" bottom: "conf" top: "shape"
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "soft" type: "Softmax" bottom: "shape" top: "soft" softmax_param {
  axis: 2 } }
layer { name: "flat" type: "Flatten" bottom: "soft" top: "flat" flatten_param { axis:
  1 } }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "flat" bottom:
  "prior"
  top: "found" detection_output_param { num_classes: 3 share_location: true
    background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: 10 }
    code_type: CENTER_SIZE keep_top_k: 5 confidence_threshold: 0.01 } }
"""

MODULES = """
name: "modules"
module { name: "Unit" input: "in" output: "conv" required: "width" optional: "pad"
  default { size: 3 label: "r" }
  layer { name: "conv" type: "Convolution" bottom: "in" top: "conv"
    convolution_param { num_output: width kernel_size: size pad: pad } }
  layer { name: "relu_${label}" type: "ReLU" bottom: "conv" top: "conv" } }
module { name: "Pair" input: "in" output: "two/conv" required: "width"
  layer { name: "one" module: "Unit" bottom: "in" values { width: width pad: 1 } }
  layer { name: "two" module: "Unit" bottom: "one/conv" values { width: width } } }
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 9,
  9] } } }
layer { name: "first" module: "Pair" bottom: "data" values { width: 4 } }
layer { name: "second" module: "Unit" bottom: "first/two/conv" top: "features"
  values { width: 2 pad: 1 size: 5 label: "x" } }
"""

LEARNING = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 6 } shape { dim: 4 }
    data_filler { type: "gaussian" std: 1 } data_filler { value: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""

SOLVERS = (
    """
net: "net.prototxt" base_lr: 0.1 lr_policy: "step" gamma: 0.5 stepsize: 2
max_iter: 10 momentum: 0.9 weight_decay: 0.001 type: "SGD" display: 1 iter_size: 2
snapshot: 0 snapshot_after_train: false random_seed: 4 clip_gradients: 5
""",
    """
train_net: "net.prototxt" test_net: "net.prototxt" test_iter: 2 test_interval: 2
base_lr: 0.01 lr_policy: "multistep" stepvalue: 1 gamma: 0.3 type: "Adam"
max_iter: 3 momentum: 0.9 momentum2: 0.99 delta: 1e-8 snapshot_prefix: "s"
""",
    """
net: "net.prototxt" base_lr: 0.1 lr_policy: "poly" power: 0.5 max_iter: 3
solver_type: RMSPROP rms_decay: 0.9 regularization_type: "L1" average_loss: 3
test_initialization: false solver_mode: CPU debug_info: false
""",
)

ADAM = """
net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" type: "Adam" momentum: 0.9
momentum2: 0.99 delta: 1e-8 snapshot_prefix: "s" snapshot_format: %s
"""

DATA = """
layer {{ name: "d" type: "{kind}" top: "data" {label} {param}
  transform_param {{ {transform} }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param {{ num_output: 2 }} }}
"""
