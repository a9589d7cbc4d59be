"""From graph to plan to net: plan, parameters, blobs, weight files."""
