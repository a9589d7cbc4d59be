"""The index of layers lists all of them, and says what the catalogue says."""

import re

from netspec import layers as L
from netspec.catalogue import LAYER_TYPES
from netspec.catalogue.table import FAMILIES
from netspec.language.foreign_words import TYPES, type_here
from tools import gen_layer_index


def test_the_page_is_what_the_generator_writes():
    assert gen_layer_index.main(["--check"]) == 0


def test_every_layer_is_in_one_family():
    text = gen_layer_index.PAGE.read_text()
    listed = re.findall(r"`L\.(\w+) <netspec\.layers\.(\w+)>`", text)
    assert sorted(name for name, _ in listed) == sorted(LAYER_TYPES)
    assert all(name == link for name, link in listed)
    assert sum(map(len, FAMILIES.values())) == len(LAYER_TYPES)
    assert LAYER_TYPES["LSTM"] in FAMILIES["Sequences"]
    assert f"| {LAYER_TYPES['ReLU'].summary} |" in text


def test_what_is_written_for_a_layer_elsewhere_exists_here():
    for word, here in TYPES.items():
        names = re.findall(r"L\.(\w+)", here)
        assert all(name in LAYER_TYPES and hasattr(L, name) for name in names), here
        assert type_here(word.upper()) == here
        assert word not in LAYER_TYPES
