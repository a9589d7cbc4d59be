"""Compiled layers, named as in `runtime/layers`."""
