"""A net as a picture: layers to boxes, boxes to places, places to SVG, HTML or DOT.

Boxes are layers, coloured by family, with in-place layers stacked on the box whose
output they change, and closed modules; lines are blobs with their shapes. SVG, HTML and
DOT need nothing else installed; PNG and PDF need CairoSVG or rsvg-convert. The command
is `python -m netspec.draw NET -o net.svg`.
"""

from netspec.draw.scene import View as View
from netspec.draw.scene import draw as draw
from netspec.draw.scene import draw_dot as draw_dot
from netspec.draw.scene import draw_html as draw_html
from netspec.draw.scene import write_drawing as write_drawing
