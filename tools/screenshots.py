"""Take the pictures of the documentation that show a page in a browser.

    python tools/screenshots.py [--browser chromium] [NAME ...]

Writes docs/images/NAME.png: of the page of a drawing, and of outputs of a notebook,
which are run in a kernel or are of docs/notebooks/, in a light and in a dark page.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from netspec.commands.model_files import load_model
from netspec.draw import draw_html
from netspec.files import replacing
from tools.gen_notebooks import FOLDER
from tools.notebook_page import COLOURS, execute, page

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE = "1280,860"
OPEN = """
    byId("search").value = "inception_3a/5x5";
    show(search()[1].box);
    byId("search").value = "";
    search();
"""
# The theme, and what is done in the page before the picture is taken.
SCENES = {
    "googlenet_closed": ("light", ""),
    "googlenet_open": ("light", OPEN),
    "googlenet_dark": ("dark", OPEN),
}
# What notebooks show: cells that are run but not shown, those that are, and the size.
SETUP = """
import numpy as np
import runtime
from netspec import NetSpec, layers as L
from sklearn.datasets import load_digits

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.images))
x = (digits.images[order] / 16).astype("float32")[:, None]
y = digits.target[order]

n = NetSpec("digits")
n.data = L.Input(shape=[64, 1, 8, 8])
n.label = L.Input(shape=[64])
n.conv1 = L.Convolution(
    n.data, num_output=16, kernel_size=3, pad=1, weight_filler="msra"
)
n.relu1 = L.ReLU(n.conv1, in_place=True)
n.pool1 = L.Pooling(n.relu1, kernel_size=2, stride=2)
n.conv2 = L.Convolution(
    n.pool1, num_output=32, kernel_size=3, pad=1, weight_filler="msra"
)
n.relu2 = L.ReLU(n.conv2, in_place=True)
n.score = L.InnerProduct(n.relu2, num_output=10, weight_filler="xavier")
n.loss = L.SoftmaxWithLoss(n.score, n.label)
n.accuracy = L.Accuracy(n.score, n.label, include="TEST")
"""
TRAIN = """history = runtime.fit(
    n, (x[:1437], y[:1437]), epochs=5, batch_size=64, validation=(x[1437:], y[1437:]),
    solver=dict(type="Adam", base_lr=0.002),
)"""
LOOKS = [
    "runtime.show_batch((x, y), n=10)",
    'runtime.filters(history, "conv1")',
    'runtime.activations(history, "conv2")',
    "history.net.blobs",
]
NOTEBOOKS: dict[str, tuple[Sequence[str], Sequence[str], str]] = {
    "notebook_training": ([SETUP], [TRAIN], "1000,560"),
    "notebook_looks": ([SETUP, TRAIN], LOOKS, "760,1010"),
}
# Of notebooks that are written: the name, cells by their numbers, and the size.
WRITTEN = {
    "notebook_writing": ("write-and-look", (2, 10), "820,580"),
    "notebook_evaluation": ("fine-tune-and-evaluate", (3, 5), "820,880"),
    "notebook_layers": ("layers-in-python", (3, 4), "820,470"),
}


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Take pictures of pages.")
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of them alone")
    options = parser.parse_args()
    if shutil.which(options.browser) is None:
        print(f"error: there is no {options.browser}", file=sys.stderr)
        return 1
    for name, text, size in pages(options.names):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            path.write_text(text, encoding="utf-8")
            command = [options.browser, "--headless", "--no-sandbox", "--disable-gpu"]
            command += [f"--window-size={size}", "--hide-scrollbars"]
            command += [f"--user-data-dir={folder}/profile"]
            command += [f"--screenshot={folder}/picture.png", path.as_uri()]
            subprocess.run(command, check=True, capture_output=True)
            write_small(Path(folder) / "picture.png", IMAGES / f"{name}.png")
        print(f"wrote docs/images/{name}.png")
    return 0


def pages(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the names of pictures, their pages and sizes; names: of some, or all."""
    net = load_model(ROOT / "models" / "googlenet.py")
    for name, (theme, script) in SCENES.items():
        if not names or name in names:
            drawing = draw_html(net, theme=theme)
            ended = f"<script>{script}</script></body>"
            yield name, drawing.replace("</body>", ended), SIZE
    for name, (notebook, numbers, size) in WRITTEN.items():
        if not names or name in names:
            found = written(notebook, numbers)
            for theme in COLOURS:
                yield f"{name}_{theme}", page(*found, theme), size
    for name, (before, cells, size) in NOTEBOOKS.items():
        if not names or name in names:
            outputs = execute([*before, *cells])[len(before) :]
            for theme in COLOURS:
                yield f"{name}_{theme}", page(cells, outputs, theme), size


def written(name: str, numbers: Sequence[int]) -> tuple[list[str], list[Any]]:
    """Return the sources and outputs of cells of a notebook, by their numbers."""
    import nbformat

    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    found = [cell for cell in cells if cell.get("execution_count") in numbers]
    return [cell.source for cell in found], [cell.outputs for cell in found]


def write_small(source: Path, target: Path) -> None:
    """Write a picture with at most 256 colours, a third of its bytes."""
    from PIL import Image

    with Image.open(source) as image, replacing(target) as file:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(file, format="PNG", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
