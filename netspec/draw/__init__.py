"""A net as a picture: layers to boxes, boxes to places, places to SVG, HTML or DOT.

Boxes are layers, coloured by family, with in-place layers stacked on the box whose
output they change, and closed modules; lines are blobs with their shapes. SVG, HTML and
DOT need nothing else installed; PNG needs resvg-py, CairoSVG or rsvg-convert, PDF one
of the last two. The command is `python -m netspec.draw NET -o net.svg`.

In the order in which a drawing is made:

- `scene`: the functions to call, and what all formats share
- `boxes`: layers to boxes, blobs to lines between them
- `captions`, `totals`: what a box says of its layer, of its module
- `line_captions`: what stands on lines
- `modules`, `folding`: the tree of modules by name; equal modules in a row as one
- `lines`: what comes into a module, goes out of it, and leads from child to child
- `grid`: layering and crossing reduction
- `placing`, `layout`: coordinates of boxes, routes of lines, in one module
- `nested`: the same in open modules within each other
- `box_svg`, `svg`: marks of a box, of the whole
- `colours`: the style sheet, light and dark
- `html` and the folder `viewer`: a page that places anew when a module opens, with the
  distances in `measures`
- `dot`: text for Graphviz
- `text_width`: how wide text is
- `output`, `__main__`: files by their suffix; the command
"""

from netspec.draw.scene import Page as Page
from netspec.draw.scene import Scene as Scene
from netspec.draw.scene import View as View
from netspec.draw.scene import draw as draw
from netspec.draw.scene import draw_dot as draw_dot
from netspec.draw.scene import draw_html as draw_html
from netspec.draw.scene import page as page
from netspec.draw.scene import write_drawing as write_drawing
