"""Write the drawings of docs/gallery.md, and the part of that page which shows them.

    python tools/gen_gallery.py [--check]

Every drawing is an SVG that is light or dark as the page around it is. With --check
nothing is written; the exit status is 1 if a drawing or the page differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netspec.commands.model_files import load_model
from netspec.draw import draw
from netspec.nets.module_paths import Told
from tools.generated_page import write_table

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
PAGE = ROOT / "docs" / "gallery.md"
FOLDER = ROOT / "docs" / "gallery"
BEGIN, END = "<!-- gallery: begin -->\n", "<!-- gallery: end -->\n"
MAX_BYTES = 60_000  # of a drawing


@dataclass(frozen=True)
class Picture:
    """A net of the gallery.

    model: its file. title, text: what stands above and below the drawing. deploy:
    whether it is the net for use. view: of `netspec.draw.draw`. settings: of the model.
    """

    model: str
    title: str
    text: str
    deploy: bool = True
    view: dict[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Return the command that makes this drawing."""
        words = [f"python -m netspec.draw models/{self.model}.py"]
        words += ["--deploy"] if self.deploy else []
        words += [f"--set {setting}" for setting in self.settings]
        words += [f"--open '{path}'" for path in self.view.get("opened", ())]
        words += [f"--phase {self.view['phase']}"] if "phase" in self.view else []
        words += [f"--depth {self.view['depth']}"] if "depth" in self.view else []
        words += [f"--rankdir {self.view['rankdir']}"] if "rankdir" in self.view else []
        return " ".join([*words, f"-o {self.model}.svg"])


PICTURES = (
    Picture(
        "lenet",
        "LeNet",
        "Data of two phases, a layer for tests alone, and a ReLU on the box whose "
        "output it changes.",
        deploy=False,
    ),
    Picture(
        "mnist_siamese",
        "Siamese net",
        "Two towers with the same parameters (⇄).",
        deploy=False,
    ),
    Picture(
        "mnist_autoencoder_tied",
        "Tied autoencoder",
        "Layers of opposite directions share weights, but not biases.",
        deploy=False,
        view=dict(phase="TRAIN"),
    ),
    Picture(
        "googlenet",
        "GoogLeNet",
        "Modules by the slashes of published names; one is open.",
        view=dict(opened=("inception_3a",)),
    ),
    Picture(
        "squeezenet",
        "SqueezeNet",
        "Fire modules, closed.",
    ),
    Picture(
        "resnet50",
        "ResNet-50",
        "Published names without slashes; equal blocks in a row are one box.",
        view=dict(opened=("res2a",)),
    ),
    Picture(
        "mobilenet_v2",
        "MobileNet v2",
        "Bottlenecks inside out, two of which are open: one that halves the image, and "
        "one that adds what goes around it.",
        view=dict(opened=("conv2_2", "conv3_1")),
    ),
    Picture(
        "densenet",
        "DenseNet-121",
        "Four blocks, in which every layer reads all before it.",
    ),
    Picture(
        "shufflenet",
        "ShuffleNet",
        "One unit of those that halve the image is open; equal ones are one box.",
        view=dict(opened=("resx5",)),
    ),
    Picture(
        "unrolled_rnn",
        "An unrolled LSTM",
        "Twenty steps that share their weights are one box, which is open. Parts of "
        "one layer that go to all steps are one line.",
        view=dict(depth=1),
    ),
    Picture(
        "fcn8s",
        "FCN-8s",
        "A net that goes down and up again, and adds what it saw on the way.",
    ),
    Picture(
        "ssd300",
        "SSD300",
        "Heads on six layers, found by the beginnings of their names.",
    ),
)


def drawing(picture: Picture) -> str:
    """Return the SVG of a net of the gallery."""
    paths: dict[str, str] = {}
    net = load_model(
        MODELS / f"{picture.model}.py",
        deploy=picture.deploy,
        settings=picture.settings,
        paths=paths,
    )
    svg = draw(Told(net, paths), **picture.view)
    size = len(svg.encode())
    if size > MAX_BYTES:
        raise ValueError(f"{picture.model}: {size:,} bytes, more than {MAX_BYTES:,}")
    return svg


def section(picture: Picture) -> str:
    """Return the part of the page that shows a net."""
    return (
        f"\n## {picture.title}\n\n{picture.text}\n\n"
        f"![{picture.title}](gallery/{picture.model}.svg)\n\n"
        f"```console\n$ {picture.command}\n```\n"
    )


def table() -> str:
    """Return the part of the page that is generated."""
    return "".join(section(picture) for picture in PICTURES) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    status = write_table(PAGE, (BEGIN, END), table, "gallery", words)
    FOLDER.mkdir(exist_ok=True)
    wanted = {FOLDER / f"{each.model}.svg": each for each in PICTURES}
    for path, picture in wanted.items():
        svg = drawing(picture)
        if path.exists() and path.read_text(encoding="utf-8") == svg:
            continue
        if "--check" in words:
            print(f"{path}: differs from its net; run make gen", file=sys.stderr)
            status = 1
        else:
            path.write_text(svg, encoding="utf-8")
    for path in set(FOLDER.glob("*.svg")) - set(wanted):
        if "--check" in words:
            print(f"{path}: is of no net; run make gen", file=sys.stderr)
            status = 1
        else:
            path.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main())
