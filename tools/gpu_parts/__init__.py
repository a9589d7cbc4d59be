"""What `tools/gpu_check.py` runs on a machine with a GPU, a process each."""
