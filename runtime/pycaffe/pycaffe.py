"""Nets and solvers under the module name by which some scripts import them."""

from runtime.pycaffe.net import AdaDeltaSolver as AdaDeltaSolver
from runtime.pycaffe.net import AdaGradSolver as AdaGradSolver
from runtime.pycaffe.net import AdamSolver as AdamSolver
from runtime.pycaffe.net import NesterovSolver as NesterovSolver
from runtime.pycaffe.net import Net as Net
from runtime.pycaffe.net import RMSPropSolver as RMSPropSolver
from runtime.pycaffe.net import SGDSolver as SGDSolver
