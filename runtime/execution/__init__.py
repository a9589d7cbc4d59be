"""From graph to plan to `Net`: plan, parameters, blobs, weight files."""
