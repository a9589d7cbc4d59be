"""Places of boxes and lines: no overlaps, straight trunks, lines that lead down."""

import pytest

from netspec.draw.grid import Net, Size, make_grid
from netspec.draw.layout import Frame, place
from tests.draw.nets import random_net


def lay_out(sizes, nets):
    return place(make_grid(len(sizes), nets), sizes, nets, 17, Frame())


@pytest.mark.parametrize("seed", range(12))
def test_boxes_never_overlap(seed):
    sizes, nets = random_net(seed)
    centres = lay_out(sizes, nets).centres
    for a, (xa, ya) in enumerate(centres):
        for b, (xb, yb) in enumerate(centres[:a]):
            apart_x = abs(xa - xb) >= (sizes[a].width + sizes[b].width) / 2
            apart_y = abs(ya - yb) >= (sizes[a].height + sizes[b].height) / 2
            assert apart_x or apart_y, (a, b)


@pytest.mark.parametrize("seed", range(12))
def test_everything_lies_inside_and_lines_lead_down(seed):
    sizes, nets = random_net(seed)
    layout = lay_out(sizes, nets)
    for (x, y), size in zip(layout.centres, sizes, strict=True):
        assert size.width / 2 <= x <= layout.width - size.width / 2
        assert size.height / 2 <= y <= layout.height - size.height / 2 - 17
    for segment in layout.segments:
        assert segment.y0 < segment.leave < segment.reach < segment.y1


@pytest.mark.parametrize("seed", range(12))
def test_every_reader_is_reached_once_from_each_of_its_blobs(seed):
    sizes, nets = random_net(seed)
    layout = lay_out(sizes, nets)
    arrivals = sum(segment.into_box for segment in layout.segments)
    assert arrivals == sum(len(net.targets) for net in nets)
    for segment in layout.segments:
        if segment.into_box:
            assert any(
                abs(segment.x1 - x) <= size.width / 2
                and abs(segment.y1 - (y - size.height / 2)) < 1e-9
                for (x, y), size in zip(layout.centres, sizes, strict=True)
            )


def test_a_chain_beside_a_long_line_stays_straight():
    sizes = [Size(width, 40) for width in (90, 150, 70, 110, 130)]
    nets = [Net(0, (1, 4)), Net(1, (2,)), Net(2, (3,)), Net(3, (4,))]
    centres = lay_out(sizes, nets).centres
    assert len({round(x, 6) for x, _ in centres[1:4]}) == 1


def test_a_module_with_four_branches_keeps_its_trunk_straight():
    # 0 forks to 1, 2, 4, 6; 2-3, 4-5, 6-7; all join in 8, which goes on to 9.
    sizes = [Size(100 + 7 * index, 40) for index in range(10)]
    nets = [
        Net(0, (1, 2, 4, 6)),
        *(Net(a, (b,)) for a, b in [(2, 3), (4, 5), (6, 7), (8, 9)]),
        *(Net(a, (8,)) for a in (1, 3, 5, 7)),
    ]
    x = [place for place, _ in lay_out(sizes, nets).centres]
    assert x[0] == pytest.approx(x[8])
    assert x[8] == pytest.approx(x[9])
    assert x[1] < x[2] < x[4] < x[6]


def test_ten_readers_of_a_blob_share_one_line():
    # A chain of ten boxes, each of which also reads box 0.
    count = 12
    nets = [Net(0, tuple(range(1, count)))]
    nets += [Net(k, (k + 1,)) for k in range(1, count - 1)]
    grid = make_grid(count, nets)
    bends = len(grid.rank) - count
    assert bends == count - 2  # one in every rank but the first and the last


def test_a_source_stands_just_above_its_reader():
    # A chain 0 1 2 4, and a label 3 that only 4 reads.
    nets = [Net(0, (1,)), Net(1, (2,)), Net(2, (4,)), Net(3, (4,))]
    assert make_grid(5, nets).rank == [0, 1, 2, 2, 3]


def test_crossings_are_removed_where_that_is_possible():
    # 0 and 1 fork; their readers are listed the wrong way round.
    nets = [Net(0, (1, 2)), Net(1, (4, 6)), Net(2, (3, 5))]
    grid = make_grid(7, nets)
    upper = [node for node in grid.rows[1] if node in (1, 2)]
    lower = grid.rows[2]
    readers = {1: {4, 6}, 2: {3, 5}}
    assert set(lower[:2]) == readers[upper[0]]


def test_a_chain_of_20000_boxes_is_placed():
    count = 20_000
    sizes = [Size(90, 40)] * count
    layout = lay_out(sizes, [Net(k, (k + 1,)) for k in range(count - 1)])
    assert len({x for x, _ in layout.centres}) == 1


def test_nothing_to_draw_is_an_empty_page():
    layout = lay_out([], [])
    assert (layout.centres, layout.segments) == ([], [])
    assert layout.width > 0
    assert layout.height > 0
