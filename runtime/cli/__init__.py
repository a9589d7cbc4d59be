"""The commands of `python -m runtime`, a file each."""
