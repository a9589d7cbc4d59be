"""From nets to Python source: statements, functions, constants, layout."""
