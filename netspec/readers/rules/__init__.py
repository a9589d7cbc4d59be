"""The rules, one row each, by family of layers; and which types a reader knows."""

from netspec.readers.rules.table import RULES as RULES
