"""`Solver`: rates, update rules, tests, history, snapshots, curves."""
