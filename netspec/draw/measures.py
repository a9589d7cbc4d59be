"""Distances that Python and the script of a page both place by, in pixels.

`netspec.draw.html` writes all of them in front of the script, so that they stand here
and nowhere else.
"""

from __future__ import annotations

BOX_GAP = 28.0  # free space between neighbours in a rank
BEND_GAP = 18.0  # the same beside a line
RANK_GAP = 36.0  # free space between ranks, where lines curve
RANK_GAP_PER_SHIFT = 0.035  # more of it where a line travels far sideways
RANK_GAP_MAX = 72.0
PORT_GAP = 22.0  # between the ends of lines at one box
PORT_MARGIN = 16.0  # of a side, free of ends of lines
FIRST_PORT = 12.0  # from a corner to the first of several lines that leave
ARROW = 9.0  # the straight end of a line, which its arrow covers
ARROW_WIDTH = 8.4
STRAIGHT = 0.05  # a line that shifts by less has no curve
CAPTION_SHIFT = (5.0, 13.0)  # from a line's start to its caption, flow downwards
CAPTION_SHIFT_SIDEWAYS = (6.0, -5.0)  # the same where the flow is to the right
