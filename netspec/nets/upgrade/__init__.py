"""Old forms of nets and solvers brought to the current one.

Caffe's format went through three generations: V0 (`layers { layer { type: "conv" } }`),
V1 (`layers { type: CONVOLUTION }`) and the current `layer { type: "Convolution" }`. The
steps run in Caffe's order: V0, transformation fields, V1, inputs, batch normalisation.
"""

from netspec.nets.upgrade.net import upgrade_net as upgrade_net
from netspec.nets.upgrade.net import upgrade_solver as upgrade_solver
from netspec.nets.upgrade.net import upgrade_text as upgrade_text
from netspec.nets.upgrade.net import upgrades_needed as upgrades_needed
