"""The container image that a round's jobs run in, as the submit file names it."""

from __future__ import annotations

from osgbatch.errors import OsgbatchError
from osgbatch.plan_model import Resolved

CONTAINER = "container"
"""The kind of an environment, and of the payload that holds its image."""
RUN_SCRIPT = "/.singularity.d/runscript"
"""What an image runs of itself; Apptainer makes one of a Docker image's ENTRYPOINT and CMD, too."""
MOUNTS = "/inputs,/related,/outputs"
"""The task's folders, as the shim shows them inside the image."""


def container_image(resolved: Resolved) -> str:
    """The value of container_image: a URL as the spec has it, an object, or a file; empty for none.

    A file is named by its whole path. With preserve_relative_paths HTCondor 25.14 brings a relative
    one to its own folder, looks for it beside the job's other files, and never starts the job.
    Raises OsgbatchError for a path with a comma, at which HTCondor would split it.
    """
    wanted = resolved.plan.spec.environment
    if wanted.kind != CONTAINER or wanted.path is None:
        return ""
    image = wanted.path.text
    for item in resolved.payload:
        if item.kind == CONTAINER:
            image = item.url or str(item.path)
    if "," in image or not image.isprintable():
        raise OsgbatchError(
            f"HTCondor cannot be given an image with this path: {image!r}",
            fix="Its folders' names must hold no comma and no line break.",
        )
    return image
