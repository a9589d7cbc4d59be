"""Images and boxes of a database: both go through the same changes."""

import io

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, SpecError, SpecWarning
from netspec.schema import TEST, TRAIN, AnnotatedDatum, NetParameter
from netspec.text import parse
from runtime.data import open_source
from tests.runtime.data.common import batches, layer
from tests.runtime.data.test_lmdb_reader import database, datum

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("lmdb")

COLOR = (250, 240, 230)  # of every object, brighter than what is around it


def scene(size, boxes, number=0):
    """An image (3, H, W) with a bright rectangle for every box, in pixels."""
    height, width = size
    rng = np.random.default_rng(number)
    image = rng.integers(0, 100, (3, height, width)).astype(np.uint8)
    for left, top, right, bottom in boxes:
        image[:, top:bottom, left:right] = np.array(COLOR)[:, None, None]
    return image


def annotated(image, boxes, classes=None, difficult=(), typed=True):
    """An item; boxes in pixels, grouped by class."""
    height, width = image.shape[1:]
    item = AnnotatedDatum(datum=datum(image, -1))
    if typed:
        item.type = AnnotatedDatum.BBOX
    groups = {}
    for number, (box, kind) in enumerate(
        zip(boxes, classes or [1] * len(boxes), strict=True)
    ):
        if kind not in groups:
            groups[kind] = item.annotation_group.add(group_label=kind)
        one = groups[kind].annotation.add(instance_id=len(groups[kind].annotation))
        left, top, right, bottom = box
        one.bbox.xmin, one.bbox.xmax = left / width, right / width
        one.bbox.ymin, one.bbox.ymax = top / height, bottom / height
        one.bbox.difficult = number in difficult
    return item


SIZES = [(40, 60), (50, 30), (36, 48), (64, 64)]
BOXES = [[(6, 8, 26, 20)], [(4, 10, 20, 40)], [], [(10, 12, 40, 60)]]


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "db"
    items = [
        annotated(scene(size, boxes, n), boxes, [n + 1] * len(boxes))
        for n, (size, boxes) in enumerate(zip(SIZES, BOXES, strict=True))
    ]
    database(path, items)
    return path


def data_layer(path, transform="", more="", batch_size=1, tops='top: "x" top: "t"'):
    return layer(
        f'type: "AnnotatedData" {tops} data_param {{ source: "{path}" backend: LMDB '
        f"batch_size: {batch_size} }} transform_param {{ {transform} }} "
        f"annotated_data_param {{ {more} }}"
    )


def found(path, transform="", more="", batch_size=1, count=4, phase=TRAIN, seed=3):
    source = open_source(data_layer(path, transform, more, batch_size), phase, seed)
    try:
        return batches(source, count)
    finally:
        source.close()


def bright(image, least=180):
    """The box of what is bright, in fractions of the sides, and how many pixels."""
    rows, columns = np.nonzero(image.min(axis=0) >= least)
    height, width = image.shape[1:]
    if len(rows) == 0:
        return None
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return np.array(box) / np.array([width, height, width, height])


def assert_boxes_fit(batch, pixels=1.01, least=180):
    """Each image's bright part is where its label says, to a pixel or so."""
    images, labels = batch
    rows = labels.reshape(-1, 8)
    for index, image in enumerate(images):
        mine = rows[rows[:, 0] == index]
        box = bright(image, least)
        if len(mine) == 0:
            continue
        assert len(mine) == 1
        height, width = image.shape[1:]
        away = np.abs(mine[0, 3:7] - box) * np.array([width, height, width, height])
        assert away.max() <= pixels, (mine, box)
    return len(rows[rows[:, 0] >= 0])


def test_items_are_read_with_a_row_for_every_box(tmp_path):
    boxes = [(6, 8, 26, 20), (30, 4, 50, 36), (0, 0, 4, 40)]
    other = [(5, 5, 10, 15)]
    items = [
        annotated(scene((40, 60), boxes), boxes, [7, 2, 7], difficult=[1]),
        annotated(scene((40, 60), other, 1), other, [3]),
    ]
    database(tmp_path / "db", items)
    ((images, labels),) = found(tmp_path / "db", batch_size=2, count=1)
    np.testing.assert_array_equal(images[0], scene((40, 60), boxes))
    assert labels.shape == (1, 1, 4, 8)
    sides = np.array([60, 40, 60, 40])
    expected = [
        [0, 7, 0, *boxes[0] / sides, 0],
        [0, 7, 1, *boxes[2] / sides, 0],
        [0, 2, 0, *boxes[1] / sides, 1],
        [1, 3, 0, *other[0] / sides, 0],
    ]
    np.testing.assert_allclose(labels[0, 0], expected, rtol=1e-6)


def test_every_batch_has_its_own_size_and_number_of_boxes(db):
    source = open_source(data_layer(db), TEST, 0)
    assert source.varies
    shapes = []
    for size in (*SIZES, SIZES[0]):
        assert source.next_shapes() == ((1, 3, *size), (1, 1, 1, 8))
        _, labels = source.next()
        shapes.append(labels.reshape(-1).tolist())
    assert shapes[2] == [-1.0] * 8  # no box
    source.close()


WARP = "resize_param { height: 45 width: 75 }"
RESIZES = {
    "warp": WARP,
    "small": "resize_param { resize_mode: FIT_SMALL_SIZE height: 45 width: 75 }",
    "pad": "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 45 width: 75 }",
}


@pytest.mark.parametrize("case", RESIZES)
def test_boxes_follow_a_resized_image(db, case):
    for batch in found(db, RESIZES[case] + " mirror: true", count=8):
        assert_boxes_fit(batch, pixels=1.6, least=150)
        height, width = batch[0].shape[2:]
        assert (height, width) == (45, 75) or case == "small"
        if case == "small":
            assert min(height - 45, width - 75) == 0 <= max(height - 45, width - 75)


@pytest.mark.parametrize(
    "mode, edge", [("CONSTANT", 7), ("MIRRORED", None), ("REPEAT_NEAREST", None)]
)
def test_a_border_is_of_its_kind(db, mode, edge):
    text = (
        "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 40 width: 90 "
        f"pad_mode: {mode} pad_value: 7 interp_mode: NEAREST }}"
    )
    images, _ = found(db, text, count=1)[0]
    inner = scene(SIZES[0], BOXES[0])
    np.testing.assert_array_equal(images[0][:, :, 15:75], inner)
    borders = {"CONSTANT": "constant", "MIRRORED": "reflect", "REPEAT_NEAREST": "edge"}
    more = {"constant_values": 7} if edge else {}
    wide = np.pad(inner, ((0, 0), (0, 0), (15, 15)), mode=borders[mode], **more)
    np.testing.assert_array_equal(images[0], wide)


def test_boxes_are_fractions_of_a_given_frame(db):
    text = RESIZES["small"].replace("}", "height_scale: 20 width_scale: 30 }")
    plain, framed = (found(db, t, count=2) for t in (RESIZES["small"], text))
    for (image, one), (_, other) in zip(plain, framed, strict=True):
        height, width = image.shape[2:]
        factors = np.array([width / 30, height / 20] * 2)
        np.testing.assert_allclose(
            other[0, 0, :, 3:7], one[0, 0, :, 3:7] * factors, rtol=1e-5
        )


def test_boxes_follow_a_larger_canvas(db):
    text = "expand_param { max_expand_ratio: 3 } "
    text += "mean_value: 20 mean_value: 40 mean_value: 60"
    sizes = set()
    for batch in found(db, text, count=12):
        batch[0][...] += np.array([20, 40, 60]).reshape(3, 1, 1)
        assert_boxes_fit(batch)
        sizes.add(batch[0].shape)
        corner = batch[0][0][:, 0, 0], batch[0][0][:, -1, -1]
        assert any(np.array_equal(one, [20, 40, 60]) for one in corner)
    assert len(sizes) == 12


SAMPLER = (
    "batch_sampler { sampler { min_scale: 0.4 max_scale: 0.9 min_aspect_ratio: 0.5 "
    "max_aspect_ratio: 2 } sample_constraint { min_jaccard_overlap: 0.3 } "
    "max_sample: 2 max_trials: 40 } "
)


def test_boxes_follow_a_sampled_window(db):
    rows = sum(assert_boxes_fit(batch) for batch in found(db, more=SAMPLER, count=40))
    assert rows == 30  # three of four items have a box, which every window keeps
    shapes = {batch[0].shape for batch in found(db, more=SAMPLER, count=40)}
    assert len(shapes) > 20


@pytest.mark.parametrize(
    "constraint",
    ["emit_type: CENTER", "emit_type: MIN_OVERLAP emit_overlap: 0.6"],
)
def test_emit_constraint_drops_boxes_that_are_cut(tmp_path, constraint):
    boxes = [(10, 10, 50, 30)]
    image = scene((40, 60), boxes)
    database(tmp_path / "db", [annotated(image, boxes)])
    window = "batch_sampler { sampler { min_scale: 0.3 max_scale: 0.6 } max_sample: 1 }"
    kept = {}
    for text in ("", f"emit_constraint {{ {constraint} }}"):
        for number, (image, labels) in enumerate(
            found(tmp_path / "db", text, window, count=60)
        ):
            kept.setdefault(number, []).append(labels[0, 0, 0, 1] == 1)
            share = (image[0].min(axis=0) > 180).sum() / (40 * 20)
            if text and "MIN" in text:
                assert kept[number][1] == (share > 0.6)
    without = sum(one for one, _ in kept.values())
    with_it = sum(other for _, other in kept.values())
    assert 0 < with_it < without


def test_crops_and_mirrors_take_boxes_along(db):
    text = WARP + " crop_h: 30 crop_w: 40 mirror: true"
    found_boxes = 0
    for images, labels in found(db, text, batch_size=4, count=5):
        assert images.shape == (4, 3, 30, 40)
        found_boxes += assert_boxes_fit((images, labels), pixels=1.6, least=150)
    assert found_boxes > 8
    central = found(db, WARP + " crop_size: 31", phase=TEST, count=2)
    assert central[0][0].shape == (1, 3, 31, 31)
    assert_boxes_fit(central[0], pixels=1.6, least=150)


def test_everything_together_is_reproducible_from_any_batch(db):
    text = (
        WARP + " mirror: true expand_param { max_expand_ratio: 2 prob: 0.5 } "
        "distort_param { brightness_prob: 0.5 brightness_delta: 20 contrast_prob: 0.5 "
        "contrast_lower: 0.9 contrast_upper: 1.1 hue_prob: 0.5 hue_delta: 9 "
        "saturation_prob: 0.5 saturation_lower: 0.9 saturation_upper: 1.1 "
        "random_order_prob: 0.5 } noise_param { saltpepper: true "
        "saltpepper_param { fraction: 0.01 value: 0 } } "
    ).replace(
        "width: 75",
        "width: 75 interp_mode: LINEAR interp_mode: CUBIC interp_mode: AREA",
    )
    all_of_them = found(db, text, SAMPLER, batch_size=2, count=6)
    again = found(db, text, SAMPLER, batch_size=2, count=6)
    other = found(db, text, SAMPLER, batch_size=2, count=6, seed=4)
    source = open_source(data_layer(db, text, SAMPLER, 2), TRAIN, 3)
    source.seek(4)
    late = batches(source, 2)
    source.close()
    for one, two in zip([*all_of_them, *all_of_them[4:]], [*again, *late], strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(all_of_them[0][0], other[0][0])
    assert not np.array_equal(all_of_them[0][0], all_of_them[2][0])  # the same items


def test_encoded_images_and_plain_labels_without_annotations(tmp_path):
    items = []
    for number in range(3):
        image = scene((10, 14), [], number)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image[::-1].transpose(1, 2, 0))).save(
            buffer, "PNG"
        )
        item = AnnotatedDatum()
        item.datum.encoded, item.datum.data, item.datum.label = (
            True,
            buffer.getvalue(),
            5 + number,
        )
        items.append(item)
    database(tmp_path / "db", items)
    ((images, labels),) = found(tmp_path / "db", batch_size=3, count=1)
    np.testing.assert_array_equal(images[1], scene((10, 14), [], 1))
    assert labels.tolist() == [5, 6, 7]


def test_a_net_takes_as_many_boxes_as_there_are(db, backend):
    net = f"""
    layer {{ name: "d" type: "AnnotatedData" top: "x" top: "t"
            data_param {{ source: "{db}" backend: LMDB batch_size: 2 }}
            transform_param {{ {WARP} }} }}
    layer {{ name: "s" type: "Reduction" bottom: "t" top: "s" }}
    """
    ready = runtime.Net(parse(net, NetParameter), TEST, backend=backend.name)
    seen = []
    for _ in range(4):
        ready.forward()
        seen.append(ready.blobs["t"].data.copy())
    ready.close()
    assert [labels.shape for labels in seen] == [(1, 1, n, 8) for n in (2, 1, 2, 1)]
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_array_equal(seen[1], seen[3])


@pytest.mark.parametrize(
    "transform, more, message",
    [
        (
            "",
            "batch_sampler { sampler { min_scale: 0 } }",
            "batch_sampler 0 has min_scale 0",
        ),
        (
            "",
            "batch_sampler { sampler { max_scale: 1.5 } }",
            "max_scale 1.5; expected 0 < min",
        ),
        (
            "",
            "batch_sampler { } batch_sampler { sampler { min_aspect_ratio: 3 } }",
            "batch_sampler 1 has min_aspect_ratio 3 and max_aspect_ratio 1; ",
        ),
        ("resize_param { height: 4 }", "", "has height 4 and width 0; give both"),
        (
            "expand_param { max_expand_ratio: 0.5 }",
            "",
            "max_expand_ratio 0.5 and prob 1; exp",
        ),
        ("crop_h: 4", "", "has crop_h 4 and crop_w 0; give both"),
        ("crop_h: 4 crop_w: 5 crop_size: 3", "", "several crops; keep one of"),
        ("crop_h: 400 crop_w: 5", "", "a crop of 400 by 5 is larger than the images"),
        ("distort_param { hue_delta: -1 }", "", "hue_delta is -1; expected at least 0"),
        (
            "distort_param { contrast_prob: 2 contrast_upper: 1 }",
            "",
            "contrast_prob is 2; expected 0",
        ),
        (
            "distort_param { saturation_prob: 1 saturation_lower: 2 }",
            "",
            "saturation_lower 2 and saturation_upper 0",
        ),
        (
            "force_gray: true distort_param { hue_prob: 1 }",
            "",
            "the images have 1; set force_color",
        ),
        (
            "noise_param { saltpepper: true }",
            "",
            "value is given 0 times for 3 channels",
        ),
        (
            RESIZES["pad"].replace("}", "pad_value: 1 pad_value: 2 }"),
            "",
            "pad_value is given 2 times for 3",
        ),
        (
            RESIZES["small"].replace("}", "height_scale: 99 width_scale: 1 }"),
            "",
            "height_scale 99 and width_scale 1; expected at most",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, transform, more, message):
    gray = "force_gray" in transform
    image = scene((20, 24), [])
    item = annotated(image[:1] if gray else image, [(1, 2, 9, 8)])
    database(tmp_path / "db", [item])
    with pytest.raises(SpecError, match=r"'d' \(AnnotatedData\).*" + message):
        open_source(data_layer(tmp_path / "db", transform, more), TRAIN, 0)


def test_a_database_of_plain_images_is_refused(tmp_path):
    database(tmp_path / "db", [datum(scene((4, 5), []))])
    with pytest.raises(FileError, match=r"key '00000000': is no AnnotatedDatum"):
        open_source(data_layer(tmp_path / "db"), TRAIN, 0)


@pytest.mark.parametrize("box", [(9, 2, 1, 8), (float("nan"), 0, 1, 1)])
def test_a_box_that_is_none_is_refused(tmp_path, box):
    database(tmp_path / "db", [annotated(scene((20, 24), []), [box])])
    with pytest.raises(FileError, match=r"key '00000000': has the box .*xmin <= xmax"):
        open_source(data_layer(tmp_path / "db"), TRAIN, 0)


def test_an_item_without_annotations_among_others_is_refused(tmp_path):
    boxes = [(1, 2, 9, 8)]
    items = [annotated(scene((20, 24), boxes), boxes, typed=n == 0) for n in range(2)]
    database(tmp_path / "db", items)
    with pytest.raises(FileError, match="key '00000001': has no type, but the first"):
        open_source(data_layer(tmp_path / "db", batch_size=2), TRAIN, 0)
    source = open_source(
        data_layer(tmp_path / "db", "", "anno_type: BBOX", 2), TRAIN, 0
    )
    source.close()


def test_a_class_without_a_name_is_told(tmp_path):
    (tmp_path / "map").write_text('item { name: "cat" label: 1 }')
    boxes = [(1, 2, 9, 8)]
    database(tmp_path / "db", [annotated(scene((20, 24), boxes), boxes, [4])])
    more = f'label_map_file: "{tmp_path}/map"'
    with pytest.warns(SpecWarning, match="a box of class 4, which label_map_file"):
        open_source(data_layer(tmp_path / "db", "", more), TRAIN, 0).close()


def test_a_probability_that_nobody_reads_is_told(db):
    for name in (
        "resize_param { height: 9 width: 9 prob: 0.5 }",
        "noise_param { prob: 0.5 }",
    ):
        with pytest.warns(SpecWarning, match="prob is 0.5, but every image"):
            open_source(data_layer(db, name), TRAIN, 0).close()


def test_data_layers_resize_too_and_tell_what_they_do_not_read(tmp_path):
    database(tmp_path / "db", [datum(scene((20, 24), [], n), n) for n in range(2)])
    text = f'type: "Data" top: "x" data_param {{ source: "{tmp_path}/db" '
    text += "backend: LMDB batch_size: 2 } "
    source = open_source(layer(text + f"transform_param {{ {WARP} }}"), TRAIN, 0)
    assert source.shapes == ((2, 3, 45, 75),)
    assert not source.varies
    source.close()
    with pytest.warns(
        SpecWarning, match="expand_param has no effect here; only Annotated"
    ):
        open_source(
            layer(text + "transform_param { expand_param { } }"), TRAIN, 0
        ).close()
