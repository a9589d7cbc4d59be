"""The device itself: memory, kernels from source, products, streams and graphs."""
