"""Own kernels of layers, one file a family, named as in `runtime.layers`."""
