"""What training shows while it runs: Caffe's lines, a bar, or a live table."""
