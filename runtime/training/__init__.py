"""`Solver`, rates, tests, history, snapshots, curves."""
