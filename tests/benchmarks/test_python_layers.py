"""The benchmark of calls of layers in Python runs, and a call costs microseconds."""

import re
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
LIMIT_US = 1000  # far above the few that a call takes, on a machine however busy


def test_every_form_has_a_row():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/python_layers.py", "--rounds", "2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.endswith("us a call, forward and backward together")
    costs = [float(re.search(r"  (-?[\d.]+)$", row).group(1)) for row in rows]
    assert len(costs) == 4
    assert max(costs) < LIMIT_US
