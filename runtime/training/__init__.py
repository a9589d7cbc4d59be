"""Solvers: rates, update rules, tests, history, snapshots, curves."""
