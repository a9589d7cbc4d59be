"""Machine code: instructions, compiled functions, threads."""
