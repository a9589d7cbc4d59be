"""Own kernels of layers, one file a family; their sources are in `kernels/`."""
