"""The messages of Caffe's format, under the name by which scripts import them."""

from runtime.pycaffe.proto import caffe_pb2 as caffe_pb2
