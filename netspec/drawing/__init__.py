"""Drawing a net: layers to boxes, boxes to places, places to SVG or DOT."""
