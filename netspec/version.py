"""The version of this package, as it is installed or stands in a checkout."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def version() -> str:
    """Return the version of `netspec`, as in "0.1.0"; "unknown" where nothing tells."""
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    if project.is_file():  # a checkout, whatever else is installed
        import tomllib

        found = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if found.get("name") == "netspec":
            return str(found["version"])
    try:
        return metadata.version("netspec")
    except metadata.PackageNotFoundError:
        return "unknown"
