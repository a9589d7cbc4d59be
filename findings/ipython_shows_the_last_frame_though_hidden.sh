#!/bin/sh
# IPython leaves out frames with a local __tracebackhide__, but never the last one.
#
# Versions: IPython 9.6.0.
# Expected: a frame whose local __tracebackhide__ is true is not shown, so that a library
# which marks its own frames shows the user's code alone.
# Happens: the frame that raised is shown all the same, with its source, as it is the
# last. Only frames between others are left out.
# Remedy: a method _render_traceback_ of the error, which IPython asks first, and which
# renders a traceback without the last frames; on an instance it is taken as well.
# Seen (frames of a cell that calls hidden, which calls raises, both marked):
#   marked: raises cell
#   rendered by the error: cell
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  ipython==9.6.0
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import re
import sys
from types import TracebackType

from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="NoColor")
CODE = """
def raises(error):
    __tracebackhide__ = True
    raise error

def hidden(error):
    __tracebackhide__ = True
    raises(error)
"""


def frames(error):
    said = io.StringIO()
    shell.user_ns["error"] = error
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        shell.run_cell("hidden(error)")
    text = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue())
    shown = {"raises": "in raises(", "hidden": "in hidden(", "cell": "Cell In["}
    return [name for name, mark in shown.items() if mark in text]


def first_frame(error):
    place = error.__traceback__
    while "run_code" in place.tb_frame.f_code.co_name:
        place = place.tb_next
    alone = TracebackType(None, place.tb_frame, place.tb_lasti, place.tb_lineno)
    tb = shell.InteractiveTB
    return tb.structured_traceback(type(error), error, alone, tb_offset=0)


shell.run_cell(CODE)
marked, rendered = ValueError("x"), ValueError("x")
rendered._render_traceback_ = lambda: first_frame(rendered)
found = frames(marked), frames(rendered)
print("marked:", *found[0])
print("rendered by the error:", *found[1])
if found != (["raises", "cell"], ["cell"]):
    sys.exit("changed")
PYTHON
