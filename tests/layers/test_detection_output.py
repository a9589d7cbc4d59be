"""DetectionOutput in whole nets, as it changes its shape, against loops over boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, ShapeError, SpecError, SpecWarning
from runtime.backends.base import Backend
from tests.layers.ssd_reference import detections

ITEMS, PRIORS, CLASSES = 2, 40, 5


def net_text(options: str, shapes: list[tuple[int, ...]], above: str = "") -> str:
    text = ""
    names = ("loc", "conf", "priors", "object", "refined")[: len(shapes)]
    for name, shape in zip(names, shapes, strict=True):
        dims = " ".join(f"dim: {size}" for size in shape)
        text += f"""layer {{ name: "{name}" type: "Input" top: "{name}"
            input_param {{ shape {{ {dims} }} }} }}\n"""
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    return f"""{text}
        layer {{ name: "out" type: "DetectionOutput" {bottoms} top: "out"
            detection_output_param {{ num_classes: {CLASSES} {options} }} }}
        {above}"""


def inputs(options: str, seed: int, refined: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    places = CLASSES if "share_location: false" in options else 1
    low = rng.uniform(0, 0.7, size=(PRIORS, 2))
    priors = np.concatenate([low, low + rng.uniform(0.1, 0.3, low.shape)], 1)
    both = np.stack([priors, rng.uniform(0.1, 0.3, priors.shape)])
    given = {
        "loc": rng.normal(size=(ITEMS, PRIORS * 4 * places)) * 0.5,
        # Few different scores: equal ones must come in order.
        "conf": rng.integers(0, 12, size=(ITEMS, PRIORS * CLASSES)) / 16,
        "priors": both.reshape(1, 2, -1),
    }
    if refined:
        given["object"] = rng.uniform(size=(ITEMS, PRIORS * 2))
        given["refined"] = rng.normal(size=(ITEMS, PRIORS * 4)) * 0.3
    return given


def run(
    backend: Backend, options: str, given: dict[str, np.ndarray], dtype: str = "float64"
) -> tuple[np.ndarray, runtime.Net]:
    shapes = [value.shape for value in given.values()]
    net = runtime.Net(net_text(options, shapes), backend=backend.name, dtype=dtype)
    return net.forward(**given)["out"], net


def close(got: np.ndarray, want: np.ndarray, rtol: float) -> None:
    assert got.shape == (1, 1, *want.shape)
    np.testing.assert_allclose(got[0, 0], want, rtol=rtol, atol=rtol)


OPTIONS = [
    "",
    "code_type: CENTER_SIZE confidence_threshold: 0.3 keep_top_k: 7",
    "code_type: CORNER_SIZE nms_param { nms_threshold: 0.1 top_k: 9 }",
    "code_type: CENTER_SIZE nms_param { nms_threshold: 0.8 eta: 0.9 }",
    "share_location: false code_type: CENTER_SIZE background_label_id: 3",
    "background_label_id: -1 variance_encoded_in_target: true keep_top_k: 11",
    "code_type: CENTER_SIZE confidence_threshold: 0.6 keep_top_k: 0",
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 2e-5)])
def test_detections(backend: Backend, options: str, dtype: str, rtol: float) -> None:
    given = inputs(options, 5)
    got, net = run(backend, options, given, dtype)
    op = net.graph.nodes[-1].op
    close(got, detections(op, *given.values()), rtol)


@pytest.mark.parametrize("bottoms", [4, 5])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 2e-5)])
def test_refinedet(backend: Backend, bottoms: int, dtype: str, rtol: float) -> None:
    options = "code_type: CENTER_SIZE objectness_score: 0.4 confidence_threshold: 0.1"
    given = dict([*inputs(options, 7, refined=True).items()][:bottoms])
    got, net = run(backend, options, given, dtype)
    want = detections(net.graph.nodes[-1].op, *given.values())
    assert len(want) > 20
    close(got, want, rtol)


@pytest.mark.parametrize("keep", [None, ()])
@pytest.mark.parametrize("read", [False, True])
def test_every_pass_has_its_own_number_of_rows(
    backend: Backend, read: bool, keep: tuple | None
) -> None:
    options = "code_type: CENTER_SIZE confidence_threshold: 0.66"
    above = 'layer { name: "twice" type: "Power" bottom: "out" top: "twice" '
    above = above + "power_param { scale: 2 } }" if read else ""
    shapes = [value.shape for value in inputs(options, 0).values()]
    text = net_text(options, shapes, above)
    net = runtime.Net(text, backend=backend.name, keep=keep)
    numbers = set()
    for seed in range(6):
        given = inputs(options, seed)
        if seed == 3:
            given["conf"][...] = 0
        got = net.forward(**given)["twice" if read else "out"] / (2 if read else 1)
        close(got, detections(net.graph.nodes[3].op, *given.values()), 2e-5)
        numbers.add(got.shape[2])
        if keep is None or not read:
            assert net.blobs["out"].shape[2] == got.shape[2]
    assert len(numbers) > 3
    assert ITEMS in numbers  # a row of -1 an item where nothing is found


def test_rows_outlive_other_shapes_of_inputs(backend: Backend) -> None:
    given = inputs("", 1)
    shapes = [value.shape for value in given.values()]
    net = runtime.Net(net_text("", shapes), backend=backend.name)
    wanted = net.forward(**given)["out"].copy()
    for name in ("loc", "conf"):
        net.blobs[name].reshape(1, shapes[0 if name == "loc" else 1][1])
    one = {name: value[:1] for name, value in given.items()}
    first = net.forward(**one)["out"]
    np.testing.assert_array_equal(first, wanted[:, :, wanted[0, 0, :, 0] == 0])


def test_scores_that_are_no_numbers_are_no_detections(backend: Backend) -> None:
    given = inputs("", 2)
    given["conf"][:, ::2] = np.nan
    got, net = run(backend, "", given, "float32")
    given["conf"][:, ::2] = -np.inf
    close(got, detections(net.graph.nodes[-1].op, *given.values()), 2e-5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("nms_param { nms_threshold: -1 }", "nms_threshold is -1; expected at least 0"),
        ("nms_param { eta: 0 }", "nms_param.eta is 0; it is a factor above 0"),
        ("nms_param { top_k: -2 }", "nms_param.top_k is -2; give a number of boxes"),
        ("keep_top_k: -3", "keep_top_k is -3; give a number of boxes, or -1"),
        ("background_label_id: 5", "background_label_id is 5, but there are 5 classes"),
    ],
)
def test_options_that_cannot_be_are_refused(options: str, match: str) -> None:
    shapes = [value.shape for value in inputs(options, 0).values()]
    with pytest.raises(SpecError, match=match):
        runtime.Net(net_text(options, shapes))


def test_bottoms_that_cannot_meet_are_refused() -> None:
    shapes = [value.shape for value in inputs("", 0).values()]
    with pytest.raises(
        ShapeError, match=r"the confidences, has 3 items and .* 2; both"
    ):
        runtime.Net(net_text("", [shapes[0], (3, shapes[1][1]), shapes[2]]))
    with pytest.raises(ShapeError, match="a fourth bottom is the images"):
        runtime.Net(net_text("", [*shapes, (2, 3, 30, 30)]))
    runtime.Net(net_text("visualize: true", [*shapes, (2, 3, 30, 30)]))
    with pytest.raises(ShapeError, match="the objectness, must have shape"):
        runtime.Net(net_text("", [*shapes, (2, 79)]))


def saving(folder: Path, form: str, more: str = "") -> str:
    folder.mkdir(exist_ok=True)
    names = ("background", "cat", "dog", "car", "cup")
    items = [
        f'item {{ name: "{n}" label: {k} display_name: "{n}" }}'
        for k, n in enumerate(names)
    ]
    (folder / "map.prototxt").write_text("\n".join(items))
    (folder / "sizes.txt").write_text("000007 300 500\n12 200 100\nx y 90 80\n3 9 9\n")
    return f"""code_type: CENTER_SIZE confidence_threshold: 0.6 save_output_param {{
        output_directory: "{folder}/out" output_name_prefix: "det_"
        output_format: "{form}" label_map_file: "{folder}/map.prototxt"
        name_size_file: "{folder}/sizes.txt" {more} }}"""


def wanted_lines(rows: np.ndarray, names: list[str], sizes: list, label: int) -> list:
    lines = []
    for item, name in enumerate(names):
        height, width = sizes[item]
        for row in rows[item // 2]:
            if row[0] != item % 2 or row[1] != label:
                continue
            box = np.clip(row[3:], 0, 1) * [width, height, width, height]
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            x, y, w, h = (int(np.floor(v * 100 + 0.5) / 100) for v in sides)
            lines.append(f"{name} {np.float32(row[2]):g} {x} {y} {x + w} {y + h}")
    return lines


def two_batches(options: str) -> list[np.ndarray]:
    shapes = [value.shape for value in inputs(options, 0).values()]
    net = runtime.Net(net_text(options, shapes))
    return [net.forward(**inputs(options, k))["out"][0, 0].copy() for k in (1, 2)]


def test_files_for_voc_are_written_when_the_set_is_complete(tmp_path: Path) -> None:
    rows = two_batches(saving(tmp_path, "VOC"))
    names = ["000007", "12", "x y", "3"]
    sizes = [(300, 500), (200, 100), (90, 80), (9, 9)]
    for label, name in enumerate(("cat", "dog", "car", "cup"), 1):
        lines = (tmp_path / "out" / f"det_{name}.txt").read_text().splitlines()
        assert lines == wanted_lines(rows, names, sizes, label)
        assert lines
    assert not (tmp_path / "out" / "det_background.txt").exists()


def test_files_for_ilsvrc_have_the_number_of_the_class(tmp_path: Path) -> None:
    rows = two_batches(saving(tmp_path, "ILSVRC"))
    lines = (tmp_path / "out" / "det_.txt").read_text().splitlines()
    assert len(lines) == sum(map(len, rows))
    first = rows[0][0]
    assert lines[0].startswith(f"000007 {int(first[1])} {first[2]:g} ")


def test_files_for_coco_are_json(tmp_path: Path) -> None:
    rows = two_batches(saving(tmp_path, "COCO"))
    found = json.loads((tmp_path / "out" / "det_.json").read_text())
    assert len(found) == sum(map(len, rows))
    assert {one["image_id"] for one in found} == {7, 12, "x y", 3}
    assert found[0]["score"] == pytest.approx(rows[0][0][2], rel=1e-7)
    x, y, w, h = found[0]["bbox"]
    box = np.clip(rows[0][0][3:], 0, 1) * [500, 300, 500, 300]
    np.testing.assert_allclose([x, y, x + w, y + h], box, atol=0.02)


def test_nothing_is_written_before_the_set_is_complete(tmp_path: Path) -> None:
    options = saving(tmp_path, "VOC")
    shapes = [value.shape for value in inputs(options, 0).values()]
    net = runtime.Net(net_text(options, shapes))
    net.forward(**inputs(options, 1))
    assert not (tmp_path / "out").exists()


def test_boxes_are_those_of_the_image_before_it_was_resized(tmp_path: Path) -> None:
    options = saving(
        tmp_path,
        "COCO",
        "num_test_image: 2 resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD "
        "height: 100 width: 100 }",
    )
    shapes = [value.shape for value in inputs(options, 0).values()]
    net = runtime.Net(net_text(options, shapes))
    rows = net.forward(**inputs(options, 1))["out"][0, 0]
    found = json.loads((tmp_path / "out" / "det_.json").read_text())
    row, one = rows[0], found[0]
    # 300 x 500 in 100 x 100 leaves borders of 20 above and below.
    top, bottom = (np.clip((row[k] * 100 - 20) / 60, 0, 1) * 300 for k in (4, 6))
    np.testing.assert_allclose(one["bbox"][1], top, atol=0.02)
    np.testing.assert_allclose(one["bbox"][3], bottom - top, atol=0.02)


def test_what_saving_needs_is_asked_for(tmp_path: Path) -> None:
    options = saving(tmp_path, "VOC", "num_test_image: 9")
    shapes = [value.shape for value in inputs(options, 0).values()]
    with pytest.raises(SpecError, match="num_test_image is 9, but .* 4 images"):
        runtime.Net(net_text(options, shapes))
    with pytest.raises(SpecError, match="'CSV'; expected one of VOC, COCO, ILSVRC"):
        runtime.Net(net_text(saving(tmp_path, "CSV"), shapes))
    options = saving(tmp_path, "VOC")
    (tmp_path / "sizes.txt").write_text("a 300\n")
    with pytest.raises(FileError, match="sizes.txt:1: expected the name, height and"):
        runtime.Net(net_text(options, shapes))
    (tmp_path / "sizes.txt").unlink()
    with pytest.warns(SpecWarning, match=r"are not saved .*name_size_file '.*' is not"):
        runtime.Net(net_text(options, shapes))
    options = saving(tmp_path, "VOC")
    (tmp_path / "map.prototxt").write_text('item { name: "cat" label: 1 }')
    net = runtime.Net(net_text(options, shapes))
    with pytest.raises(SpecError, match="class 2 has no name in .*map.prototxt"):
        net.forward(**inputs(options, 1))
