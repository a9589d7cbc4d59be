"""NetSpec as Caffe has it; see `netspec.compatible`."""

from netspec.compatible import Function as Function
from netspec.compatible import Layers as Layers
from netspec.compatible import NetSpec as NetSpec
from netspec.compatible import Parameters as Parameters
from netspec.compatible import Top as Top
from netspec.compatible import assign_proto as assign_proto
from netspec.compatible import layers as layers
from netspec.compatible import param_name_dict as param_name_dict
from netspec.compatible import params as params
from netspec.compatible import to_proto as to_proto
