"""What can name an environment in `environment:`, and which keys go with it; quick to load."""

from __future__ import annotations

import re
import shlex

ENVIRONMENT_KINDS = ("conda", "requirements", "prefix", "archive", "container")
"""What an environment can be made from, by the keys of `environment:`."""

FITS = {
    "python": ("requirements",),
    "channels": ("conda",),
    "imports": ("requirements", "conda", "prefix", "archive"),
    "strip": ("requirements", "conda", "prefix"),
    "test": ("requirements", "conda", "prefix", "archive"),
}
"""The keys beside the one that names the environment, and which of these they go with."""

_EXAMPLES = {
    "conda": "environment.yml",
    "requirements": "requirements.txt, pyproject.toml or uv.lock",
    "prefix": ".venv/ or my-env/",
    "archive": "my-env.tar.gz",
    "container": "image.sif, image.def, docker://python:3.12 or osdf:///…/image.sif",
}
_IN_REGISTRY = re.compile(r"(?i:docker)://(?:(?:[^/]*[.:][^/]*|localhost)/)?(?P<name>[^:@]+)")
"""Behind the host, if there is one, and before tag and digest."""
_IMAGES = re.compile(r"(docker|oras)://.+|(osdf|pelican|stash|https?|s3|file)://.+\.sif", re.I)


def environment_fault(value: str) -> tuple[str, str]:
    """What is wrong with a name that no environment can have, and what to do; both empty if not.

    Source of the form of references to images: distribution's reference grammar.
    """
    name = value.rpartition("/")[2]
    if name.endswith(".tar.zst"):
        better = f"{value.removesuffix('.tar.zst')}.tar.gz"
        return (
            f'"{name}" is packed with zstd, which execution points need not have',
            f"Make it a .tar.gz: zstd -dc {shlex.quote(value)} | gzip >{shlex.quote(better)}",
        )
    image = _IN_REGISTRY.match(value)
    if image and image["name"] != image["name"].lower():
        lower = f"{value[: image.start('name')]}{image['name'].lower()}{value[image.end('name') :]}"
        return "the names of images have no capitals", f"Write {lower}."
    return "", ""


def environment_examples(kind: str) -> str:
    """How an environment of a kind is named."""
    return _EXAMPLES[kind]


def environment_kind(value: str) -> str:
    """What a path, or an image, stands for by its name alone; empty where it cannot be told."""
    name = value.rpartition("/")[2]
    if "://" in value:
        return "container" if _IMAGES.fullmatch(value) else ""
    if name.endswith((".yml", ".yaml")):
        return "conda"
    if name.endswith((".txt", ".in")) or name in ("pyproject.toml", "uv.lock"):
        return "requirements"
    if re.fullmatch(r"pylock(\..+)?\.toml", name):
        return "requirements"
    if name.endswith((".sif", ".def")) or value.startswith("/cvmfs/singularity."):
        return "container"
    if name.endswith((".tar.gz", ".tgz", ".tar.zst")):
        return "archive"
    if name in ("", "venv", "env") or name.startswith("."):
        return "prefix"
    return "prefix" if "/" in value and "." not in name else ""
