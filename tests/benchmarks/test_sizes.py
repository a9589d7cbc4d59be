"""The benchmark of images of different sizes runs and prints its figures."""

import re
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--sizes", "3", "--least", "24", "--most", "40", "--turns", "1")


def test_there_are_rows_with_plans_kept_and_made_anew():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/sizes.py", *SMALL],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    header, kept, anew, memory, change = done.stdout.splitlines()
    assert header.endswith("later / fixed")
    for row in (kept, anew):
        assert all(float(number) > 0 for number in row.split()[1:])
    whole, largest = (float(one) for one in re.findall(r"([\d.]+) MiB", memory))
    assert largest <= whole < 2 * largest + 2
    assert float(re.search(r"before: (\d+) us", change).group(1)) < 100_000
