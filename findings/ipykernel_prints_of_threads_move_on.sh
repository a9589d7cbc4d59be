#!/bin/sh
# What a thread prints or displays goes to whatever cell runs now, not to its own.
#
# Versions: ipykernel 7.4.0, nbclient 0.11.0.
# Expected: ipykernel keeps for each thread the cell that started it (its streams and
# its publisher of displays look for a thread's parent), so that training in a thread
# reports below the cell that began it, also while other cells run.
# Happens: print and display of a thread go to the cell that runs at the time. A thread
# pool that lives longer than a cell does the same. A display that was made with an id by
# the main thread is updated in its own cell, from a thread too.
# Remedy: display(..., display_id=True) before the thread starts, and update in it.
# Seen:
#   cell that starts the thread: stream "started", display "updated"
#   the next one, which waits: stream "printed", display "displayed"
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  ipykernel==7.4.0 nbclient==0.11.0 ipython==9.6.0
"$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PYTHON' ||
import json
import sys

import nbformat
from nbclient import NotebookClient

START = """
import threading
from IPython.display import display
go = threading.Event()
shown = display("first", display_id=True)
def train():
    go.wait()
    print("printed")
    display("displayed")
    shown.update("updated")
thread = threading.Thread(target=train)
thread.start()
print("started")
"""
WAIT = "go.set(); thread.join()"


def told(cell):
    """Return what a cell has, in words."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            text = output.text.strip()
        else:
            text = output.data["text/plain"].strip("'")
        kind = output.output_type.split("_")[0]
        texts.append(f"{kind} {json.dumps(text)}")
    return ", ".join(sorted(texts, reverse=True)) or "nothing"


notebook = nbformat.v4.new_notebook()
notebook.cells = [nbformat.v4.new_code_cell(code) for code in (START, WAIT)]
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
found = [told(cell) for cell in notebook.cells]
print(f"cell that starts the thread: {found[0]}")
print(f"the next one, which waits: {found[1]}")
if found != [
    'stream "started", display "updated"',
    'stream "printed", display "displayed"',
]:
    sys.exit("changed")
PYTHON
{ tail -n 3 "$folder/log"; exit 1; }
