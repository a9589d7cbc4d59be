"""From message to message: old formats, rules and phases, the net for use.

Here is what needs nothing but messages. `nets.current` and `nets.upgrade` need the
parser of text, and `nets.deploy` the shapes of all layer types: a program that only
writes a net need not wait for them.
"""

from netspec.nets.filter import KeptNet as KeptNet
from netspec.nets.filter import drop_values as drop_values
from netspec.nets.filter import filter_net as filter_net
from netspec.nets.filter import kept_layers as kept_layers
from netspec.nets.filter import kept_net as kept_net
from netspec.nets.filter import merge_state as merge_state
from netspec.nets.filter import solver_state as solver_state
from netspec.nets.phases import PHASE_NAMES as PHASE_NAMES
from netspec.nets.phases import PHASES as PHASES
from netspec.nets.phases import layers_of_phase as layers_of_phase
from netspec.nets.phases import one_phase as one_phase
from netspec.nets.phases import unmade as unmade
from netspec.nets.rules import may_meet as may_meet
from netspec.nets.state import State as State
