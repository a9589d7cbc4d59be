"""The NVIDIA backend: the portable kernels on CuPy.

`backend` holds it all so far. Kernels of its own go where those of the CPU are: layers
in `layers/`, named as in `runtime.layers`; what starts and compiles CUDA code in
`machine/`; and `table.py` says which layer type has which. `CupyBackend.kernel` then
takes the first of the table that fits a node, and the portable one where none does.
"""

from runtime.backends.cuda.backend import CupyBackend as CupyBackend
