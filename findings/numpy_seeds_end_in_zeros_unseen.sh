#!/bin/sh
# default_rng([7, 0]) draws what default_rng(7) draws: zeros behind a seed do not count.
#
# Versions: NumPy 2.4.6.
# Expected: each list of numbers is a seed of its own, so that [seed, rank] gives every
# rank a stream of its own, beside that of [seed] for what all share.
# Happens: the list is filled up with zeros to four words of 32 bits. [7], [7, 0] and
# [7, 0, 0] are one seed, and rank 0 draws again what was drawn for all: its noise is the
# initial weights. [seed, rank] and [seed, rank, epoch] meet in the first epoch. Behind
# four words a zero counts. And a number above 32 bits is two words, of which the lower
# is first: 7 + 2**32 is [7, 1]. RandomState does the same with lists.
# Remedy: what varies first and the seed last, if that is not 0: [rank, seed]; or
# SeedSequence(7).spawn(ranks), which fills up to four words before it adds its own.
# Seen (first of a thousand numbers):
#   473 511 755 with seed 1, 473 511 755 with [1, 0], 473 511 755 with [1, 0, 0, 0]
#   15 699 828 with [1, 0, 0, 0, 0]
#   518 331 362 with [1, 1], 518 331 362 with 1 + 2**32
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np


def drawn(seed):
    return tuple(np.random.default_rng(seed).integers(1000, size=20).tolist())


def told(seed, name):
    return f"{' '.join(map(str, drawn(seed)[:3]))} with {name}"


lists = {"seed 1": 1, "[1, 0]": [1, 0], "[1, 0, 0, 0]": [1, 0, 0, 0]}
print(", ".join(told(seed, name) for name, seed in lists.items()))
print(told([1, 0, 0, 0, 0], "[1, 0, 0, 0, 0]"))
print(told([1, 1], "[1, 1]"), told(1 + 2**32, "1 + 2**32"), sep=", ")
same = drawn(1), drawn([1]), drawn([1, 0]), drawn([1, 0, 0, 0])
others = drawn(1), drawn([1, 0, 0, 0, 0]), drawn([1, 1]), drawn([0, 1]), drawn([1, 2])
children = [drawn(child) for child in np.random.SeedSequence(1).spawn(2)]
old = [np.random.RandomState(seed).randint(1000, size=9) for seed in ([1], [1, 0])]
if not (
    len(set(same)) == 1
    and len(set(others)) == 5
    and len({drawn(1), *children}) == 3
    and drawn([1, 1]) == drawn(1 + 2**32)
    and (old[0] == old[1]).all()
):
    sys.exit("changed")
PYTHON
