"""Whether the YAML file that `osgbatch pack env` is given is a sweep."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from osgbatch.errors import OsgbatchError


def is_sweep(path: Path) -> bool:
    """Whether a YAML file is a sweep, not an environment.yml of conda."""
    if path.suffix not in (".yml", ".yaml") or not path.is_file():
        return False
    try:
        said = _yaml(path)
    except (OSError, yaml.YAMLError, ValueError):
        return path.name not in ("environment.yml", "environment.yaml")
    return not (isinstance(said, dict) and "dependencies" in said and "command" not in said)


def _yaml(path: Path) -> Any:
    """What a YAML file says. Raises OSError, YAMLError, ValueError."""
    return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def check_slip(path: Path) -> None:
    """Refuse an environment.yml of conda without `dependencies`. Raises OsgbatchError."""
    if path.suffix not in (".yml", ".yaml") or not path.is_file():
        return
    try:
        said = _yaml(path)
    except (OSError, yaml.YAMLError, ValueError):  # told where it is read
        return
    if not isinstance(said, dict) or {"dependencies", "command", "function", "sweep"} & set(said):
        return
    near = get_close_matches("dependencies", [str(key) for key in said], 1, 0.75)
    if near or "channels" in said:
        raise OsgbatchError(
            f'unknown key "{near[0]}" in an environment file'
            if near
            else "this environment file has no dependencies",
            where=str(path),
            fix="Did you mean dependencies?" if near else "List its packages as dependencies.",
        )
