"""What commands share: parser, options, the net of a model file or of an argument."""
