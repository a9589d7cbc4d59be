"""A net as Python: statements, functions, constants, layout."""
