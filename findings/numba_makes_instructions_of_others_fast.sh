#!/bin/sh
# Numba's fastmath reaches the instructions that an intrinsic emits, and takes sums apart.
#
# Versions: Numba 0.68.1, llvmlite 0.50.0, NumPy 2.4.6, Python 3.11.
# Expected: fastmath is about the Python code of the function that names it; what an
# intrinsic emits with plain fadd and fsub, as its author wrote it, stays.
# Happens, and nothing warns: every floating-point instruction without a flag in the
# module of the function gets the flags of fastmath. (x + 1.5 2^23) - 1.5 2^23, which
# rounds a float to a whole number, is folded to x. An instruction that has a flag of its
# own, any, is left alone.
# Remedy: give each instruction a flag that changes nothing for it, or name no "reassoc".
# Seen:
#   without fastmath: 2.7 becomes 3.0
#   with fastmath={"reassoc", "nsz"}: 2.7 becomes 2.7
#   with fastmath={"reassoc", "nsz"}, and the flag "contract" on the two: 2.7 becomes 3.0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


def whole(flags):
    """Return an instruction that rounds a float by adding much and taking it away."""

    @intrinsic
    def rounded(context, x):
        def generate(context, builder, signature, args):
            much = ir.Constant(ir.FloatType(), 1.5 * 2**23)
            total = builder.fadd(args[0], much, flags=flags)
            return builder.fsub(total, much, flags=flags)

        return types.float32(types.float32), generate

    return rounded


def run(flags, **options):
    instruction = whole(flags)

    @njit(**options)
    def function(x):
        return instruction(types.float32(x))

    return round(float(function(2.7)), 4)


found = [run(()), run((), fastmath={"reassoc", "nsz"}), run(("contract",), fastmath={"reassoc", "nsz"})]
print("without fastmath: 2.7 becomes", found[0])
print('with fastmath={"reassoc", "nsz"}: 2.7 becomes', found[1])
print('with fastmath={"reassoc", "nsz"}, and the flag "contract" on the two: 2.7 becomes', found[2])
sys.exit(0 if found == [3.0, 2.7, 3.0] else "another behaviour than the one above")
PYTHON
