"""Ways to compute a correlation: direct, Winograd, depthwise."""
