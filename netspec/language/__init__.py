"""From Python calls to a message: recording, options, names, sharing, scopes."""
