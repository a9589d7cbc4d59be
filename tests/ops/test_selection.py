from tests.ops.reading import read, refuses


def test_tile_repeats_one_axis():
    text = 'type: "Tile" top: "y" tile_param { axis: -1 tiles: 3 }'
    assert read(text, (2, 5, 4)).tops == ((2, 5, 12),)
    refuses('type: "Tile" top: "y"', (2, 5), match="tiles is 0; give the number of cop")


def test_batch_reindex_has_an_item_for_every_index():
    op = read('type: "BatchReindex" top: "y"', (2, 3, 4), (5,))
    assert op.tops == ((5, 3, 4),)
    assert op.backward_bottoms == (1,)
    assert op.gradient_bottoms == (0,)
    assert op.refused_bottoms == (1,)
    message = r"'b1'\), the index, must have shape \(M,\)"
    refuses('type: "BatchReindex" top: "y"', (2, 3), (5, 1), match=message)


def test_crop_takes_the_size_of_the_reference_from_an_axis_on():
    op = read('type: "Crop" top: "y"', (2, 3, 8, 9), (5, 7, 4, 6))
    assert op.tops == ((2, 3, 4, 6),)
    assert op.offset == (0, 0, 0, 0)
    assert op.gradient_bottoms == (0,)
    assert op.refused_bottoms == ()
    text = 'type: "Crop" top: "y" crop_param { axis: 1 offset: 1 offset: 2 offset: 3 }'
    op = read(text, (2, 3, 8, 9), (5, 2, 4, 6))
    assert op.tops == ((2, 2, 4, 6),)
    assert op.offset == (0, 1, 2, 3)


def test_bad_crops_are_refused():
    text = 'type: "Crop" top: "y" crop_param { offset: 5 }'
    message = (
        r"axis 2 of bottom 0 \('b0'\) \(2, 3, 8, 9\) is too small for an offset of 5"
    )
    refuses(text, (2, 3, 8, 9), (5, 7, 4, 3), match=message)
    refuses(text, (2, 3, 8, 9), (4, 3), match="must have the same number of axes")
    text = 'type: "Crop" top: "y" crop_param { axis: 1 offset: 5 offset: 4 }'
    refuses(text, (2, 3, 8, 9), (5, 7, 4, 3), match=r"offset has 2 values \(5, 4\)")


def test_filter_has_room_for_all_items():
    op = read('type: "Filter" top: "y" top: "z"', (4, 3), (4, 2, 5), (4, 1, 1))
    assert op.tops == ((4, 3), (4, 2, 5))
    assert op.backward_bottoms == (2,)
    assert op.gradient_bottoms == (0, 1)
    assert op.refused_bottoms == (2,)


def test_bad_filters_are_refused():
    one = 'type: "Filter" top: "y"'
    refuses(one, (4, 3), (4, 2), (4,), match="3 bottoms and 1 tops are given")
    refuses(one, (4, 3), (4, 2), match=r"the selector, must have one value for each")
    refuses(one, (5, 3), (4,), match=r"'b0'\) \(5, 3\) must have as many items as the")


def test_reduction_drops_the_last_axes():
    op = read(
        'type: "Reduction" top: "y" '
        "reduction_param { operation: SUMSQ axis: -2 coeff: 3 }",
        (2, 3, 4),
    )
    assert op.tops == ((2,),)
    assert (op.operation, op.axis, op.coeff) == ("SUMSQ", 1, 3)
    assert op.backward_bottoms == (0,)
    assert read('type: "Reduction" top: "y"', (2, 3)).tops == ((),)
    assert read('type: "Reduction" top: "y"', (2, 3)).backward_bottoms == ()


def test_argmax_of_items_and_along_an_axis():
    def shape(options, x=(2, 3, 4, 5)):
        return read(f'type: "ArgMax" top: "y" argmax_param {{ {options} }}', x).tops[0]

    assert shape("") == (2, 1, 1, 1)
    assert shape("top_k: 3 out_max_val: true") == (2, 2, 3, 1)
    assert shape("top_k: 3", (2, 9)) == (2, 1, 3)
    assert shape("top_k: 3 axis: -1 out_max_val: true") == (2, 3, 4, 3)


def test_bad_argmax_is_refused():
    text = 'type: "ArgMax" top: "y" argmax_param { top_k: 6 axis: 3 }'
    refuses(text, (2, 3, 4, 5), match="top_k is 6; expected from 1 to 5")
    refuses('type: "ArgMax" top: "y"', (), match="the input is a scalar")
