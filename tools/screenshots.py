"""Take the pictures of the documentation that show a page in a browser.

    python tools/screenshots.py [--browser chromium]

Writes googlenet_closed.png, googlenet_open.png and googlenet_dark.png in docs/images.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from netspec.commands.model_files import load_model
from netspec.draw import draw_html

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


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Take pictures of pages.")
    parser.add_argument("--browser", default="chromium")
    options = parser.parse_args()
    if shutil.which(options.browser) is None:
        print(f"error: there is no {options.browser}", file=sys.stderr)
        return 1
    net = load_model(ROOT / "models" / "googlenet.py")
    for name, (theme, script) in SCENES.items():
        page = draw_html(net, theme=theme)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            path.write_text(
                page.replace("</body>", f"<script>{script}</script></body>"),
                encoding="utf-8",
            )
            command = [options.browser, "--headless", "--no-sandbox", "--disable-gpu"]
            command += [f"--window-size={SIZE}", "--hide-scrollbars"]
            command += [f"--user-data-dir={folder}/profile"]
            command += [f"--screenshot={IMAGES / name}.png", path.as_uri()]
            subprocess.run(command, check=True, capture_output=True)
        print(f"wrote docs/images/{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
