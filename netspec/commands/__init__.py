"""What commands share: parser, `--set`, the net of a model file or of an argument."""
