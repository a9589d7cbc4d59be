"""The benchmark of large nets makes its nets and prints a row for each."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
ROW = """
import sys
sys.path.insert(0, "benchmarks")
import large_nets
print(large_nets.row(sys.argv[1], 60))
"""


@pytest.mark.parametrize("kind", ["residual", "inception", "varied", "dense"])
def test_a_row_has_the_layers_and_five_times(kind):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ROW, kind],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    cells = [cell.strip() for cell in done.stdout.strip().strip("|").split("|")]
    assert cells[0] == kind
    assert 50 <= int(cells[1]) <= 65
    assert len(cells) == 8
    assert all(float(cell) >= 0 for cell in cells[2:])
