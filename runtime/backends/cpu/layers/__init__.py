"""Compiled layers, grouped by how they compute; `table.py` says where each is."""
