"""Weight files, and a net with its values: arrays by layer name."""

from netspec.weights.model import Model as Model
from netspec.weights.model import Weights as Weights
from netspec.weights.model import as_model as as_model
from netspec.weights.model import complete as complete
