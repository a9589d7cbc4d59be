"""Windows of images, drawn from foreground and background, scaled and mirrored."""

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, SpecError
from netspec.schema import TRAIN, BlobProto
from runtime.data import open_source
from runtime.data.images import resize
from tests.runtime.data.common import batches, layer

Image = pytest.importorskip("PIL.Image")

SIZES = [(30, 40), (24, 36)]
# class, overlap, x1, y1, x2, y2 of the windows of each image
WINDOWS = [
    [(3, 0.9, 5, 6, 20, 25), (2, 0.4, 0, 0, 9, 9), (1, 0.05, 30, 20, 39, 29)],
    [(7, 0.6, 2, 3, 33, 20), (7, 0.1, 10, 10, 21, 23)],
]


def picture(number):
    return (
        np.random.default_rng(number)
        .integers(1, 255, (3, *SIZES[number]))
        .astype(np.uint8)
    )


@pytest.fixture
def source(tmp_path):
    lines = []
    for number, (height, width) in enumerate(SIZES):
        rgb = np.ascontiguousarray(picture(number)[::-1].transpose(1, 2, 0))
        Image.fromarray(rgb).save(tmp_path / f"{number}.png")
        windows = WINDOWS[number]
        lines += [f"# {number}", f"{number}.png", "3", f"{height}", f"{width}"]
        lines += [f"{len(windows)}", *(" ".join(map(str, one)) for one in windows)]
    (tmp_path / "windows").write_text("\n".join(lines) + "\n")
    return tmp_path / "windows"


def data_layer(source, more="", transform="", batch_size=6):
    return layer(
        f'type: "WindowData" top: "x" top: "t" '
        f"transform_param {{ crop_size: 12 {transform} }} "
        f'window_data_param {{ source: "{source}" root_folder: "{source.parent}/" '
        f"batch_size: {batch_size} bg_threshold: 0.2 {more} }}"
    )


def found(source, more="", transform="", count=4, seed=2, batch_size=6):
    opened = open_source(data_layer(source, more, transform, batch_size), TRAIN, seed)
    try:
        return batches(opened, count)
    finally:
        opened.close()


def rounded(value):
    return int(np.floor(abs(value) + 0.5) * (1 if value >= 0 else -1))


def cut(image, window, size, pad=0, square=False, flip=False):
    """A window as Caffe scales it, side by side with the text of its layer."""
    x1, y1, x2, y2 = window
    out = np.zeros((3, size, size))
    pad_w = pad_h = 0
    new_w = new_h = size
    if pad or square:
        scale = size / (size - 2 * pad)
        half_h, half_w = (y2 - y1 + 1) / 2, (x2 - x1 + 1) / 2
        center_x, center_y = x1 + half_w, y1 + half_h
        if square:
            half_h = half_w = max(half_h, half_w)
        x1, x2 = rounded(center_x - half_w * scale), rounded(center_x + half_w * scale)
        y1, y2 = rounded(center_y - half_h * scale), rounded(center_y + half_h * scale)
        all_h, all_w = y2 - y1 + 1, x2 - x1 + 1
        pad_x1, pad_y1 = max(0, -x1), max(0, -y1)
        pad_x2 = max(0, x2 - image.shape[2] + 1)
        pad_y2 = max(0, y2 - image.shape[1] + 1)
        x1, x2, y1, y2 = x1 + pad_x1, x2 - pad_x2, y1 + pad_y1, y2 - pad_y2
        scale_x, scale_y = size / all_w, size / all_h
        new_w, new_h = (
            rounded((x2 - x1 + 1) * scale_x),
            rounded((y2 - y1 + 1) * scale_y),
        )
        pad_h = rounded(pad_y1 * scale_y)
        pad_w = rounded((pad_x2 if flip else pad_x1) * scale_x)
        new_h, new_w = min(new_h, size - pad_h), min(new_w, size - pad_w)
    part = resize(image[:, y1 : y2 + 1, x1 : x2 + 1], new_h, new_w)
    part = part[:, :, ::-1] if flip else part
    out[:, pad_h : pad_h + new_h, pad_w : pad_w + new_w] = part
    return out


def candidates(wanted, pad=0, square=False, flips=(False,)):
    """All that a window of the foreground (or background) can be."""
    for number, windows in enumerate(WINDOWS):
        for kind, overlap, *window in windows:
            fits = overlap >= 0.5 if wanted else overlap < 0.2
            for flip in flips if fits else ():
                yield (
                    kind if wanted else 0,
                    cut(picture(number), window, 12, pad, square, flip),
                )


CASES = {
    "warp": ("", {}),
    "context": ("context_pad: 2", {"pad": 2}),
    "square": ('crop_mode: "square"', {"square": True}),
    "both": ('crop_mode: "square" context_pad: 3', {"square": True, "pad": 3}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mirror", ["", "mirror: true"])
@pytest.mark.parametrize("cache", ["", "cache_images: true"])
def test_windows_are_those_of_caffe(source, case, mirror, cache):
    more, options = CASES[case]
    flips = (False, True) if mirror else (False,)
    seen = set()
    every = found(source, f"fg_fraction: 0.4 {more} {cache}", mirror, count=20)
    for images, labels in every:
        assert [bool(one) for one in labels] == [False] * 4 + [True] * 2
        for image, kind in zip(images, labels, strict=True):
            fits = [
                index
                for index, (wanted, cut_out) in enumerate(
                    candidates(kind > 0, flips=flips, **options)
                )
                if wanted == kind and np.array_equal(cut_out, image)
            ]
            assert fits
            seen.add((bool(kind), fits[0]))
    assert len(seen) == 4 * len(flips)  # every window, and every flip of it


def test_runs_repeat_and_seeds_differ(source):
    one, again, other = (found(source, seed=seed) for seed in (2, 2, 3))
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first[0], second[0])
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(one, other, strict=True))


def test_the_centre_of_a_mean_is_subtracted_and_what_is_beyond_stays_zero(source):
    mean = np.arange(3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
    blob = BlobProto(num=1, channels=3, height=16, width=16, data=mean.ravel().tolist())
    path = source.parent / "mean"
    path.write_bytes(blob.SerializeToString())
    more = "context_pad: 3"
    text = f'mean_file: "{path}" scale: 0.5'
    plain, less = (found(source, more, t, count=6) for t in ("", text))
    border = 0
    for (images, _), (others, _) in zip(plain, less, strict=True):
        there = images > 0
        centre = np.broadcast_to(mean[:, :, 2:14, 2:14], images.shape)
        np.testing.assert_allclose(others[there], ((images - centre) / 2)[there])
        assert not others[~there].any()
        border += (~there).sum()
    assert border > 0


def test_a_mean_of_channels(source):
    text = "mean_value: 1 mean_value: 2 mean_value: 3"
    (plain, _), (less, _) = (found(source, "", t, count=1)[0] for t in ("", text))
    np.testing.assert_allclose(less, plain - np.array([1, 2, 3]).reshape(3, 1, 1))


def test_a_net_takes_windows(source, backend):
    text = str(data_layer(source)).replace('top: "t"', 'top: "t"')
    net = runtime.Net(f"layer {{ {text} }}", TRAIN, backend=backend.name)
    net.forward()
    assert net.blobs["x"].data.shape == (6, 3, 12, 12)
    assert net.blobs["t"].data.tolist()[:4] == [0] * 4
    net.close()


@pytest.mark.parametrize(
    ("more", "transform", "message"),
    [
        ('crop_mode: "sqare"', "", "crop_mode is 'sqare'; expected warp or square"),
        ("context_pad: 6", "", "context_pad 6 leaves nothing of crop_size 12"),
        ("fg_fraction: 1.5", "", "fg_fraction is 1.5; expected 0 to 1"),
        ("", "resize_param { }", "resize_param is not for windows"),
        (
            "",
            "mean_value: 1 mean_value: 2",
            "mean_value is given 2 times for 3 channels",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(source, more, transform, message):
    with pytest.raises(SpecError, match=r"'d' \(WindowData\).*" + message):
        found(source, more, transform, count=1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# 0", "0", "windows:1: expected #, got '0'"),
        ("\n3\n30", "\nx\n30", "windows:3: expected channels, got 'x'"),
        ("\n3\n24", "\n1\n24", "has 1 channels; expected 1 or 3, the same for all"),
        ("3 0.9", "0 0.9", "windows:7: a window of the foreground has class 0"),
        ("3 0.9", "3 x", "windows:7: expected a window, got 'x'"),
        (
            "7 0.1 10 10 21 23\n",
            "",
            r"windows:\d+: the file ends where",
        ),
        (
            "5 6 20 25",
            "5 6 40 25",
            r"window \(5, 6, 40, 25\) .* none of an image of 30 by",
        ),
    ],
)
def test_files_that_are_wrong_are_told(source, old, new, message):
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))
    with pytest.raises(FileError, match=message):
        found(source, "fg_fraction: 1", count=9)


def test_a_batch_without_windows_of_a_kind_is_told(source):
    with pytest.raises(
        FileError, match="no window of the foreground, but a batch has 1"
    ):
        found(source, "fg_threshold: 0.95")
