"""What is compiled in Caffe, under the module name by which some scripts look for it.

`type(net.params["conv"]) is caffe._caffe.BlobVec`.
"""

from netspec.schema import SolverParameter as SolverParameter
from runtime.execution.blob import Blob as Blob
from runtime.execution.blob import BlobVec as BlobVec
from runtime.pycaffe.mode import has_nccl as has_nccl
from runtime.pycaffe.mode import init_log as init_log
from runtime.pycaffe.mode import log as log
from runtime.pycaffe.mode import set_device as set_device
from runtime.pycaffe.mode import set_mode_cpu as set_mode_cpu
from runtime.pycaffe.mode import set_mode_gpu as set_mode_gpu
from runtime.pycaffe.mode import set_multiprocess as set_multiprocess
from runtime.pycaffe.mode import set_random_seed as set_random_seed
from runtime.pycaffe.mode import set_solver_count as set_solver_count
from runtime.pycaffe.mode import set_solver_rank as set_solver_rank
from runtime.pycaffe.mode import solver_count as solver_count
from runtime.pycaffe.mode import solver_rank as solver_rank
from runtime.pycaffe.nccl import NCCL as NCCL
from runtime.pycaffe.net import AdaDeltaSolver as AdaDeltaSolver
from runtime.pycaffe.net import AdaGradSolver as AdaGradSolver
from runtime.pycaffe.net import AdamSolver as AdamSolver
from runtime.pycaffe.net import Layer as Layer
from runtime.pycaffe.net import NesterovSolver as NesterovSolver
from runtime.pycaffe.net import Net as Net
from runtime.pycaffe.net import RMSPropSolver as RMSPropSolver
from runtime.pycaffe.net import SGDSolver as SGDSolver
from runtime.pycaffe.net import Solver as Solver
from runtime.pycaffe.net import get_solver as get_solver
from runtime.pycaffe.net import layer_type_list as layer_type_list
from runtime.pycaffe.timing import Timer as Timer

RawBlobVec = BlobVec
