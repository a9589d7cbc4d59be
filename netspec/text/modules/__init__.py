"""Modules in the net text itself, written out as plain layers.

Text goes through three stages: `tree` reads it into fields that know their places,
`read` makes modules of the blocks and follows imports, `expand` writes every use out as
plain text, of which `flatten` makes a net. The grammar is in docs/modules-in-text.md.
"""

from netspec.text.modules.flatten import flatten_text as flatten_text
from netspec.text.modules.flatten import has_modules as has_modules
