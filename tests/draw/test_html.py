"""The page: every layer, nothing from outside, and places equal to those of the SVG."""

import json
import re
import shutil
import subprocess

import pytest

from netspec.commands.model_files import load_model
from netspec.draw import draw, draw_html, write_drawing
from netspec.errors import SpecError
from tests.draw.nets import CHAIN_OF_FOLDS, NET, random_modules
from tests.patience import PATIENCE_S
from tests.test_architecture import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")


def content(page):
    found = re.search(r'<script id="net" type="application/json">(.*?)</script>', page)
    return json.loads(found[1])


def dom(page, folder, script=""):
    """What a browser makes of a page after a script has run in it."""
    path = folder / "page.html"
    # On a page of its own a script may report errors: they become the title.
    report = "window.onerror = (text) => { document.title = 'ERROR ' + text; };"
    page = page.replace("<head>", f"<head><script>{report}</script>", 1)
    page = page.replace("</body>", f"<script>{script}</script></body>")
    path.write_text(page, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--window-size=1200,900", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert "<title>ERROR" not in done.stdout, done.stdout[:500]
    return done.stdout


def numbers(text):
    """The numbers of all lines, each with its place in the page."""
    lines = re.findall(r'<path class="l" d="([^"]*)"', text)
    return [[float(v) for v in re.findall(r"-?[\d.]+", line)] for line in lines]


def test_every_layer_is_in_the_page_with_its_properties():
    page = draw_html(NET)
    rows = [row for box in content(page)["boxes"] for row in box]
    names = ["data", "data", "conv", "relu", "twin", "sum", "ip", "loss", "accuracy"]
    assert [row["name"] for row in rows] == names
    conv = rows[2]
    assert conv["tops"] == [["conv", "7×6×6×5"]]
    assert conv["params"] == ["6×3×3×5  w", "6"]
    assert conv["macs"] == 7 * 6 * 6 * 5 * 3 * 3 * 5
    assert "kernel_h: 3" in conv["text"]
    assert rows[-1]["phase"] == "TEST"


def test_the_page_loads_nothing():
    page = draw_html(NET)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.search(r"<(link|img|iframe)|@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_the_page_is_the_same_every_time():
    assert draw_html(NET) == draw_html(NET)


def test_hostile_names_stay_text():
    evil = "</script><img src=x onerror=alert(1)>"
    page = draw_html(NET.replace('"sum"', json.dumps(evil)))
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert evil in [row["name"] for box in content(page)["boxes"] for row in box]


def test_a_page_of_a_net_that_does_not_check_is_written(tmp_path):
    path = tmp_path / "net.html"
    with pytest.raises(SpecError, match="kernel covers"):
        write_drawing(path, NET.replace("kernel_h: 3", "kernel_h: 30"))
    mistakes = [
        row["mistake"] for box in content(path.read_text())["boxes"] for row in box
    ]
    assert any("kernel covers" in mistake for mistake in mistakes)


@needs_browser
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_the_page_places_everything_as_the_svg_does(seed, rankdir, tmp_path):
    text = random_modules(seed)
    for depth in (0, 2):
        view = dict(depth=depth, rankdir=rankdir)
        page = numbers(dom(draw_html(text, **view), tmp_path))
        svg = numbers(draw(text, **view))
        assert len(page) == len(svg) > 3
        for ours, theirs in zip(page, svg, strict=True):
            assert ours == pytest.approx(theirs, abs=0.11)


CLICK = """
const use = (selector) => document.querySelector(selector)
  .dispatchEvent(new MouseEvent("click", { bubbles: true }));
const state = () => [...document.querySelectorAll("[data-module]")]
  .filter((one) => one.getAttribute("aria-expanded") === "true").length;
const seen = [state()];
const module = net.modules[0].children.find((one) => one.path === "inception_3a");
use(`[data-module="${module.id}"]`);
seen.push(state(), document.querySelectorAll("[data-box]").length);
use("[data-box]");
seen.push(document.querySelector("#properties h2").textContent);
use(`[data-module="${module.id}"]`);
seen.push(state());
byId("search").value = "inception_4c/5x5 conv";
search();
seen.push(byId("count").textContent, byId("found").textContent);
show(search()[0].box);
seen.push(state(), document.querySelector("#properties h2").textContent);
use("#open");
seen.push(document.querySelectorAll("[data-box]").length === net.boxes.length);
use("#close");
seen.push(state());
const focus = document.querySelector("[data-module]");
focus.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
seen.push(state());
document.title = JSON.stringify(seen);
"""


@needs_browser
def test_boxes_open_on_a_click_and_a_search_finds_layers(tmp_path):
    page = draw_html(load_model(ROOT / "models" / "googlenet.py"))
    title = re.search("<title>(.*?)</title>", dom(page, tmp_path, CLICK))[1]
    seen = json.loads(title.replace("&quot;", '"'))
    closed = 7  # layers that are in no module
    assert seen == [
        *(0, 1, closed + 8, "data", 0),
        *("2 found", "inception_4c/5x5_reduceinception_4c/5x5"),
        *(1, "inception_4c/5x5_reduce", True, 0, 1),
    ]


FIRST_VIEW = """{
const areaOf = (selector) => document.querySelector(selector).getBoundingClientRect();
const stage = areaOf("#stage"), first = areaOf("[data-box]");
const begun = view.scale;
byId("fit").click();
const last = [...document.querySelectorAll("[data-box]")].pop().getBoundingClientRect();
document.title = JSON.stringify([
  begun >= 0.8, first.left >= stage.left && first.right <= stage.right,
  first.top >= stage.top && first.bottom <= stage.bottom,
  (sideways ? first.left - stage.left : first.top - stage.top) < 80,
  areaOf("#legend").top >= stage.bottom, view.scale < 0.8,
  last.bottom <= stage.bottom,
]);
}"""


@needs_browser
@pytest.mark.parametrize("model", ["googlenet", "resnet50", "ssd300"])
@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_a_page_begins_in_letters_that_can_be_read(model, rankdir, tmp_path):
    net = load_model(ROOT / "models" / f"{model}.py", deploy=True)
    page = dom(draw_html(net, rankdir=rankdir), tmp_path, FIRST_VIEW)
    seen = json.loads(re.search("<title>(.*?)</title>", page)[1])
    assert seen == [True] * 7


def test_a_box_in_a_fold_has_one_that_is_drawn_for_it():
    page = content(draw_html(CHAIN_OF_FOLDS))
    names = [rows[0]["name"] for rows in page["boxes"]]
    drawn = {name: names[box] for name, box in zip(names, page["drawn"], strict=True)}
    assert drawn["m2/n1/b"] == drawn["m0/n2/b"] == "m0/n0/b"
    assert drawn["m2/n0/a"] == "m0/n0/a"
    assert drawn["m3/n1/b"] == "m0/n0/b"  # nothing reads the last, which is equal


FIND = """
byId("search").value = "m2/n1/b";
search();
show(search()[0].box);
const marked = [...document.querySelectorAll(".chosen")].map((one) => one.dataset.box);
document.title = JSON.stringify(
  [document.querySelector("#properties h2").textContent,
   marked.map((box) => net.boxes[box][0].name)]);
"""


@needs_browser
def test_a_search_finds_layers_in_folds(tmp_path):
    page = dom(draw_html(CHAIN_OF_FOLDS), tmp_path, FIND)
    title = re.search("<title>(.*?)</title>", page)[1]
    assert json.loads(title.replace("&quot;", '"')) == ["m2/n1/b", ["m0/n0/b"]]


@needs_browser
def test_a_net_of_a_thousand_layers_opens(tmp_path):
    text = 'input: "x" input_shape { dim: 2 dim: 3 }'
    below = "x"
    for number in range(1000):
        top = f"m{number // 50}/l{number}"
        kind = ("TanH", "Sigmoid", "AbsVal")[number % 3]
        text += (
            f'layer {{ name: "{top}" type: "{kind}" bottom: "{below}" top: "{top}" }}'
        )
        below = top
    page = draw_html(text, fold=False)
    script = 'byId("open").click(); '
    script += 'document.title = document.querySelectorAll("[data-box]").length;'
    assert "<title>1001</title>" in dom(page, tmp_path, script)
