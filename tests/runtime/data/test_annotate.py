"""Annotations of VOC, COCO and SSD become databases of boxes."""

import json

import numpy as np
import pytest

from netspec.errors import FileError
from netspec.schema import TEST
from runtime.data import open_source
from runtime.data.__main__ import main
from runtime.data.label_map import Labels
from tests.runtime.data.common import batches
from tests.runtime.data.test_annotated_reader import data_layer, scene

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("lmdb")

MAP = """
item { name: "none_of_the_above" label: 0 display_name: "background" }
item { name: "cat" label: 1 display_name: "Cat" }
item { name: "dog" label: 2 }
item { name: "18" label: 3 display_name: "horse" }
"""
BOXES = [(6, 8, 26, 20), (30, 4, 50, 36)]
VOC = """<annotation><filename>a.png</filename>
<size><width>60</width><height>40</height><depth>3</depth></size>
<object><name>dog</name><difficult>1</difficult>
  <bndbox><xmin>6</xmin><ymin>8</ymin><xmax>26</xmax><ymax>20</ymax></bndbox></object>
<object><name>cat</name>
  <bndbox><xmin>30</xmin><ymin>4</ymin><xmax>50</xmax><ymax>36</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = scene((40, 60), BOXES)[::-1].transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(picture)).save(tmp_path / "a.png")
    (tmp_path / "map").write_text(MAP)
    (tmp_path / "a.xml").write_text(VOC)
    (tmp_path / "list").write_text("a.png a.xml\n")
    return tmp_path


def rows(path="annotated_lmdb"):
    source = open_source(data_layer(path), TEST, 0)
    ((images, labels),) = batches(source, 1)
    source.close()
    return images[0], labels[0, 0]


def expected(*facts):
    sides = np.array([60, 40, 60, 40])
    return [
        [0, kind, instance, *np.array(box) / sides, hard]
        for kind, instance, box, hard in facts
    ]


def test_voc_files_become_a_database(folder, capsys):
    assert main(["annotated", "list", "--label-map", "map"]) == 0
    assert "annotated_lmdb: 1 images, 2 boxes" in capsys.readouterr().out
    image, labels = rows()
    np.testing.assert_array_equal(image, scene((40, 60), BOXES))
    wanted = expected((2, 0, BOXES[0], 1), (1, 0, BOXES[1], 0))
    np.testing.assert_allclose(labels, wanted, rtol=1e-6)


def test_text_files_have_numbers_or_names(folder):
    (folder / "a.txt").write_text("1 6 8 26 20\n\ncat 30 4 50 36\n")
    (folder / "list").write_text("a.png a.txt")
    assert main(["annotated", "list", "--label-map", "map", "-o", "t"]) == 0
    _, labels = rows("t_lmdb")
    wanted = expected((1, 0, BOXES[0], 0), (1, 1, BOXES[1], 0))
    np.testing.assert_allclose(labels, wanted, rtol=1e-6)


COCO = {
    "images": [
        {"id": 5, "file_name": "a.png", "height": 40, "width": 60},
        {"id": 4, "file_name": "a.png"},
    ],
    "annotations": [
        {"image_id": 5, "category_id": 18, "bbox": [6, 8, 20, 12], "iscrowd": 1},
        {"image_id": 5, "category_id": 2, "bbox": [30, 4, 20, 32]},
    ],
    "categories": [{"id": 2, "name": "dog"}, {"id": 18, "name": "horse"}],
}


def test_a_coco_file_has_many_images(folder):
    (folder / "c.json").write_text(json.dumps(COCO))
    assert main(["annotated", "c.json", "--label-map", "map"]) == 0
    _, labels = rows()
    wanted = expected((3, 0, BOXES[0], 1), (2, 0, BOXES[1], 0))
    np.testing.assert_allclose(labels, wanted, rtol=1e-6)
    assert main(["annotated", "c.json", "-o", "n"]) == 0
    np.testing.assert_array_equal(rows("n_lmdb")[1][:, 1], [18, 2])


def test_ssds_json_is_of_one_image(folder):
    content = {"image": COCO["images"][0], "annotation": COCO["annotations"][:1]}
    (folder / "a.json").write_text(json.dumps(content))
    (folder / "list").write_text("a.png a.json")
    assert main(["annotated", "list", "--label-map", "map"]) == 0
    np.testing.assert_allclose(rows()[1], expected((3, 0, BOXES[0], 1)), rtol=1e-6)


def test_pixels_of_a_size_and_one_channel(folder):
    text = ["annotated", "list", "--label-map", "map", "--size", "20", "30", "--gray"]
    assert main(text) == 0
    image, labels = rows()
    assert image.shape == (1, 20, 30)
    wanted = expected((2, 0, BOXES[0], 1), (1, 0, BOXES[1], 0))
    np.testing.assert_allclose(labels, wanted, rtol=1e-6)


def voc(**changes):
    text = VOC
    for old, new in changes.items():
        text = text.replace(f"<{old}>", f"<{old}>", 1)
        start = text.index(f"<{old}>") + len(old) + 2
        text = text[:start] + new + text[text.index("<", start) :]
    return text


@pytest.mark.parametrize(
    "content, name, message",
    [
        (
            voc(xmax="61"),
            "a.xml",
            r"object 0 \(dog\): its box .*beyond a.png of 40 by 60 .*--clip",
        ),
        (voc(xmin="-1"), "a.xml", "reaches beyond"),
        (voc(xmin="26"), "a.xml", "has no area; expected xmin < xmax"),
        (voc(ymin="x"), "a.xml", r"object 0 \(dog\): ymin is 'x'; expected a number"),
        (voc(name="cow"), "a.xml", r"object 0 \(cow\): its class 'cow' is not in map"),
        (voc(width="61"), "a.xml", r"an image of 40 by 61 .* but a.png has 40 by 60"),
        (VOC.replace("bndbox", "box"), "a.xml", "has no bndbox"),
        (VOC[:-9], "a.xml", "a.xml: is no XML"),
        ('<!DOCTYPE x [<!ENTITY e "x">]>' + VOC, "a.xml", "has a DOCTYPE"),
        (
            "1 2 3 4",
            "a.txt",
            "txt:1: expected label xmin ymin xmax ymax, got '1 2 3 4'",
        ),
        ("cow 2 3 4 5", "a.txt", "a.txt:1: its class 'cow' is not in map"),
        ("1 2 3 nan 5", "a.txt", "a.txt:1: xmax is 'nan'"),
        ("[]", "a.json", "a.json: is no annotation"),
        ("{", "a.json", "a.json: is no JSON"),
        (
            '{"annotation": [{"bbox": [1, 2, 3]}]}',
            "a.json",
            "object 0: has no category_id",
        ),
        (
            '{"annotation": [{"bbox": [1, 2, 3], "category_id": 18}]}',
            "a.json",
            "bbox is ",
        ),
    ],
)
def test_annotations_that_are_wrong_are_told(folder, capsys, content, name, message):
    (folder / name).write_text(content)
    (folder / "list").write_text(f"a.png {name}")
    arguments = ["annotated", "list", "--label-map", "map"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(FileError, match=message):
        raise FileError(error)
    assert not list(folder.glob("*lmdb*"))


def test_boxes_can_be_cut_at_the_sides(folder):
    (folder / "a.txt").write_text("1 -5 8 26 99")
    (folder / "list").write_text("a.png a.txt")
    assert main(["annotated", "list", "--clip"]) == 0
    np.testing.assert_allclose(
        rows()[1], expected((1, 0, (0, 8, 26, 40), 0)), rtol=1e-6
    )


def test_names_need_a_label_map(folder, capsys):
    assert main(["annotated", "list"]) == 1
    assert "names its class 'dog'; give --label-map" in capsys.readouterr().err
    (folder / "list").write_text("a.png")
    assert main(["annotated", "list"]) == 1
    assert "list:1: expected an image and an annotation file" in capsys.readouterr().err


def test_a_coco_file_that_is_none_is_told(folder, capsys):
    for content, message in (
        ({}, "no list `images`"),
        (COCO | {"images": [{"id": 1}]}, "image 0 has no id or no file_name"),
        (COCO | {"images": []}, "annotation 0 of image 5: there is no such image"),
        (COCO | {"images": [], "annotations": []}, "has no images"),
    ):
        (folder / "c.json").write_text(json.dumps(content))
        assert main(["annotated", "c.json"]) == 1
        assert message in capsys.readouterr().err


def test_a_database_is_replaced_only_by_force(folder, capsys):
    assert main(["annotated", "list", "--label-map", "map"]) == 0
    assert main(["annotated", "list", "--label-map", "map"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (
        main(["annotated", "list", "--label-map", "map", "--force", "--shuffle"]) == 0
    )


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "has no classes"),
        ('item { name: "a" }', "an item has no label"),
        ('item { name: "a" label: 1 } item { name: "a" label: 2 }', "name 'a' twice"),
        ('item { name: "a" label: 1 } item { name: "b" label: 1 }', "label 1 twice"),
        ("item { label: cat }", "is no label map"),
    ],
)
def test_label_maps_that_are_none(tmp_path, content, message):
    (tmp_path / "map").write_text(content)
    with pytest.raises(FileError, match=f"map: .*{message}"):
        Labels(tmp_path / "map")


def test_a_label_map_has_numbers_and_names(folder):
    labels = Labels("map")
    assert labels.numbers["dog"] == 2
    assert labels.names[1] == "cat"
    assert labels.shown == {0: "background", 1: "Cat", 2: "dog", 3: "horse"}
