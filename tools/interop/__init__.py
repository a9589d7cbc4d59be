"""Nets in the readers of docs/interop.md: runs them and writes the tables."""
