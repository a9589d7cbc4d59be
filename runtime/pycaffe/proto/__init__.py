"""The messages, under the name by which scripts for Caffe import them."""

from runtime.pycaffe.proto import caffe_pb2 as caffe_pb2
