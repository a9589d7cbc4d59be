"""From message to message: old formats, rules and phases, the net for use."""
