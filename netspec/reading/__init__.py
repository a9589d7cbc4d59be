"""A net that exists, in the language's words: load, edit by name, call as a block."""
