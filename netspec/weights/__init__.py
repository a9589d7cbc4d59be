"""Weight files, and a net with its values: arrays by layer name."""

from netspec.weights.model import Model as Model
from netspec.weights.model import as_model as as_model
from netspec.weights.model import complete as complete
from netspec.weights.names import Names as Names
from netspec.weights.reading import Weights as Weights
from netspec.weights.reading import open_weights as open_weights
from netspec.weights.reading import read_weights as read_weights
from netspec.weights.writing import save_weights as save_weights
