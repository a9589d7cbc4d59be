"""From message to `Graph`: wires, sharing, shapes, gradients, places in memory."""

from netspec.graph.build import build as build
from netspec.graph.build import build_kept as build_kept
from netspec.graph.build import check_parameters as check_parameters
from netspec.graph.diagnose import Diagnosis as Diagnosis
from netspec.graph.diagnose import diagnose as diagnose
from netspec.graph.private import share_private as share_private
from netspec.graph.shared_gradients import share_gradients as share_gradients
from netspec.graph.splits import counted_twice as counted_twice
from netspec.graph.splits import insert_splits as insert_splits
from netspec.graph.splits import is_inserted as is_inserted
from netspec.graph.types import AUTOMATIC as AUTOMATIC
from netspec.graph.types import Earlier as Earlier
from netspec.graph.types import Edge as Edge
from netspec.graph.types import Graph as Graph
from netspec.graph.types import Node as Node
from netspec.graph.types import Parameter as Parameter
from netspec.graph.types import Use as Use
from netspec.graph.zero_weights import may_start_zero as may_start_zero
from netspec.graph.zero_weights import zero_weights as zero_weights
