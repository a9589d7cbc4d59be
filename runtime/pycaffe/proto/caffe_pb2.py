"""Everything of `netspec.schema`, where scripts look for it."""

from netspec.schema import *  # noqa: F403 - all messages and enums
