"""Scripts in the manner of SSD's and Faster R-CNN's run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]

# How SSD's scripts write nets: values of enums by their messages, phases by number,
# lists of samplers, layers that go on from lists, and a LabelMap by text_format.
WRITE = """
import caffe
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
from google.protobuf import text_format

TRAIN, TEST = (caffe_pb2.Phase.Value(name) for name in ("TRAIN", "TEST"))
labels = caffe_pb2.LabelMap()
for number, name in enumerate(("none", "cat", "dog")):
    labels.item.add(name=name, label=number, display_name=name.title())
with open("labels.prototxt", "w") as file:
    file.write(text_format.MessageToString(labels))

net = caffe.NetSpec()
resize = dict(prob=1, resize_mode=P.Resize.WARP, height=32, width=32,
              interp_mode=[P.Resize.LINEAR, P.Resize.AREA])
emit = dict(emit_type=caffe_pb2.EmitConstraint.CENTER)
samplers = [
    dict(sampler=dict(), max_trials=1, max_sample=1),
    dict(sampler=dict(min_scale=0.3, max_scale=1.0),
         sample_constraint=dict(min_jaccard_overlap=0.1), max_trials=50),
]
net.data, net.label = L.AnnotatedData(
    name="data", ntop=2, include=dict(phase=TRAIN),
    data_param=dict(batch_size=2, backend=P.Data.LMDB, source="train_lmdb"),
    transform_param=dict(resize_param=resize, emit_constraint=emit),
    annotated_data_param=dict(label_map_file="labels.prototxt", batch_sampler=samplers))
net.conv = L.Convolution(net.data, num_output=8, kernel_size=3, pad=1, stride=8,
                         weight_filler=dict(type="xavier"))
net.norm = L.Normalize(net.conv, scale_filler=dict(type="constant", value=20),
                       across_spatial=False, channel_shared=False)
flat = []
for name, width in (("loc", 8), ("conf", 6)):
    net[name] = L.Convolution(net.norm, num_output=width, kernel_size=3, pad=1,
                              weight_filler=dict(type="xavier"))
    net[name + "_perm"] = L.Permute(net[name], order=[0, 2, 3, 1])
    net[name + "_flat"] = L.Flatten(net[name + "_perm"], axis=1)
    flat.append(net[name + "_flat"])
net.priors = L.PriorBox(net.norm, net.data, min_size=8.0, max_size=16.0, clip=False,
                        variance=[0.1, 0.1, 0.2, 0.2], step=8, offset=0.5)
boxes = flat + [net.priors, net.label]
shared = dict(num_classes=3, share_location=True, background_label_id=0,
              code_type=P.PriorBox.CENTER_SIZE)
net["mbox_loss"] = L.MultiBoxLoss(
    *boxes, include=dict(phase=TRAIN), propagate_down=[True, True, False, False],
    loss_param=dict(normalization=P.Loss.VALID),
    multibox_loss_param=dict(
        shared, match_type=P.MultiBoxLoss.PER_PREDICTION, neg_pos_ratio=3.0,
        loc_loss_type=P.MultiBoxLoss.SMOOTH_L1, conf_loss_type=P.MultiBoxLoss.SOFTMAX,
        mining_type=P.MultiBoxLoss.MAX_NEGATIVE))
with open("train.prototxt", "w") as file:
    print('name: "{}"'.format("boxes_train"), file=file)
    print(net.to_proto(), file=file)
net.prob = L.Softmax(L.Reshape(flat[1], shape=dict(dim=[0, -1, 3])), axis=2)
net.prob_flat = L.Flatten(net.prob, axis=1)
boxes[1] = net.prob_flat
net.detection_out = L.DetectionOutput(
    *boxes[:3], include=dict(phase=TEST), detection_output_param=dict(
        shared, nms_param=dict(nms_threshold=0.45, top_k=40), keep_top_k=20,
        confidence_threshold=0.01))
deploy = net.to_proto()
del deploy.layer[0]
layers = [layer for layer in deploy.layer if layer.type != "MultiBoxLoss"]
del deploy.layer[:]
deploy.layer.extend(layers)
deploy.name = "boxes_deploy"
deploy.input.extend(["data"])
deploy.input_shape.extend([caffe_pb2.BlobShape(dim=[1, 3, 32, 32])])
with open("deploy.prototxt", "w") as file:
    print(deploy, file=file)
print(P.Solver.GPU, caffe_pb2.AnnotatedDatum.BBOX)
"""

# How they use one: a Transformer, blobs of another size, labels by their numbers.
DETECT = """
import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

labels = caffe_pb2.LabelMap()
text_format.Merge(open("labels.prototxt").read(), labels)
caffe.Net("deploy.prototxt", caffe.TEST).save("deploy.caffemodel")
net = caffe.Net("deploy.prototxt", "deploy.caffemodel", caffe.TEST)
net.name = "boxes"
assert net.name == "boxes"
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_mean("data", np.array([104, 117, 123]))
transformer.set_raw_scale("data", 255)
transformer.set_channel_swap("data", (2, 1, 0))
image = np.random.default_rng(0).uniform(size=(48, 40, 3)).astype(np.float32)
net.blobs["data"].reshape(2, 3, 32, 32)
net.blobs["data"].data[...] = transformer.preprocess("data", image)
found = net.forward()["detection_out"]
assert found.shape[:2] == (1, 1) and found.shape[3] == 7 and found.shape[2] > 2
first, second = (found[0, 0, found[0, 0, :, 0] == item, 1:] for item in (0, 1))
np.testing.assert_array_equal(first, second)
names = {item.label: item.display_name for item in labels.item}
assert {names[int(label)] for label in first[:, 0]} <= {"Cat", "Dog"}
data = {"data": np.zeros((1, 3, 64, 32), np.float32)}
net.blobs["data"].reshape(*data["data"].shape)
assert net.forward(**data)["detection_out"].shape[3] == 7
assert net.blobs["norm"].data.shape == (1, 8, 8, 4)
print("detected")
"""


def test_scripts_of_ssd_write_nets_and_detect(tmp_path):
    for name, text, said in (("w", WRITE, "1 0\n"), ("d", DETECT, "detected\n")):
        (tmp_path / f"{name}.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "runtime.pycaffe", f"{name}.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.stdout == said, done.stderr
    train = (tmp_path / "train.prototxt").read_text()
    assert 'name: "boxes_train"' in train
    assert "code_type: CENTER_SIZE" in train
    assert train.count("propagate_down: false") == 2
