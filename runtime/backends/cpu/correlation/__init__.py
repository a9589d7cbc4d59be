"""Algorithms of correlation: direct, Winograd, depthwise; sizes apart from code."""
