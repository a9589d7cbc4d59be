"""Layers written in Python: the class, which code may run, and its place in a net."""
