"""Algorithms of correlation: direct, kept rows, Winograd, depthwise; sizes apart from code."""
