"""Gradients against central differences, of any layer and any net."""
