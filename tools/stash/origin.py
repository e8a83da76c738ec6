"""XRootD's HTTP server, the software of the OSDF's origins, serving a folder for read and write."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import namespaces
from common import ToolError
from process import Server

NAME = "origin"
LOG = f"{NAME}/log"  # XRootD puts it into a folder with the instance's name
CONFIGURATION = """\
all.role server
all.export {namespace}
all.adminpath {folder}/admin
all.pidpath {folder}/admin
oss.localroot {root}
xrd.port {port}
xrd.network nodnr norpipa
xrd.sched mint 4 avlt 4 idle 60
xrd.protocol XrdHttp libXrdHttp.so
http.listingdeny no
ofs.trace open
"""


def server(programs: Path, folder: Path, port: int, root: Path, namespace: str) -> Server:
    """XRootD on a port. root: the folder whose paths are the URLs' paths; namespace: served of it.

    As root it is started as an ordinary account, for it refuses root. Raises ToolError where that
    cannot be done.
    """
    (folder / "admin").mkdir(parents=True, exist_ok=True)
    text = CONFIGURATION.format(namespace=namespace, folder=folder, root=root, port=port)
    (folder / "xrootd.cfg").write_text(text)
    command = [str(programs / "xrootd"), "-c", "xrootd.cfg", "-n", NAME, "-l", str(folder / "log")]
    if os.getuid() == 0:
        if not namespaces.best_way().user_namespace:
            raise ToolError(
                "XRootD refuses to run as root, and no user namespace can be made here in which "
                "root is another: start the stash as an ordinary user, or inside pool.py run."
            )
        command = [sys.executable, str(Path(namespaces.__file__).parent / "inside"), *command]
    return Server("xrootd", folder, port, command, log=folder / LOG)
