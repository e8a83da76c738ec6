"""The condor_config of a personal pool: one host, one port, one user, quick to react."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provide import Installation

TEMPLATE = """\
# Personal HTCondor pool of osgbatch's developers, written by tools/htcondor. Not for production.
RELEASE_DIR = {release}
BIN = {bin}
SBIN = {sbin}
LIB = {lib}
LIBEXEC = {libexec}
LOCAL_DIR = {folder}
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
RUN = $(LOCAL_DIR)/run
TMP_DIR = $(LOCAL_DIR)/tmp
ETC = $(LOCAL_DIR)/etc
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =
REQUIRE_LOCAL_CONFIG_FILE = False
USER_CONFIG_FILE =

# One port on the loopback interface; names come from no DNS.
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
SHARED_PORT_PORT = {port}
USE_SHARED_PORT = True
DAEMON_SOCKET_DIR = $(LOCAL_DIR)/sock
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = pool.test
UID_DOMAIN = pool.test
FILESYSTEM_DOMAIN = pool.test
TRUST_UID_DOMAIN = True
COLLECTOR_NAME = osgbatch developers' pool

# One user, known by the files it can make.
use security:recommended_v9_0
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
SEC_CLIENT_AUTHENTICATION_METHODS = FS
SEC_TOKEN_DIRECTORY = $(ETC)/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = $(ETC)/tokens.d
SEC_PASSWORD_DIRECTORY = $(ETC)/passwords.d
SEC_TOKEN_POOL_SIGNING_KEY_FILE = $(ETC)/passwords.d/POOL
ALLOW_ADMINISTRATOR = $(USERNAME)@*
ALLOW_DAEMON = $(USERNAME)@*
ALLOW_NEGOTIATOR = $(USERNAME)@*
ALLOW_WRITE = $(USERNAME)@*
ALLOW_READ = *

DAEMON_LIST = MASTER, SHARED_PORT, COLLECTOR, NEGOTIATOR, SCHEDD, STARTD
USE_PROCD = True
MAIL =
CONDOR_ADMIN =
ENABLE_KERNEL_TUNING = False
DISCARD_SESSION_KEYRING_ON_STARTUP = False
MASTER_BACKOFF_CEILING = 5
MASTER_BACKOFF_CONSTANT = 1
PREEN =
GRACEFULLY_RESTART = False
ENABLE_SSH_TO_JOB = False

# One big slot, whatever the machine has: most test jobs only wait.
NUM_CPUS = {cpus}
MEMORY = {memory}
RESERVED_DISK = 0
STARTD_ENFORCE_DISK_LIMITS = False
use feature:PartitionableSlot
SLOT_TYPE_1_NAME_PREFIX = slot
use POLICY:ALWAYS_RUN_JOBS
use POLICY:HOLD_IF_MEMORY_EXCEEDED
use POLICY:HOLD_IF_DISK_EXCEEDED
RunBenchmarks = False
BENCHMARKS_JOBLIST =
STARTD_CRON_JOBLIST =
STARTD_HAS_BAD_UTMP = True
CONSOLE_DEVICES =
JOB_RENICE_INCREMENT = 0
MOUNT_UNDER_SCRATCH =

# Quick: many short jobs, one after another.
SCHEDD_INTERVAL = 5
SCHEDD_MIN_INTERVAL = 0
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_MIN_INTERVAL = 0
NEGOTIATOR_CYCLE_DELAY = 0
NEGOTIATOR_UPDATE_INTERVAL = 10
UPDATE_INTERVAL = 2
UPDATE_OFFSET = 0
MASTER_UPDATE_INTERVAL = 60
POLLING_INTERVAL = 2
PID_SNAPSHOT_INTERVAL = 2
STARTER_UPDATE_INTERVAL = 2
STARTER_INITIAL_UPDATE_INTERVAL = 2
SHADOW_QUEUE_UPDATE_INTERVAL = 2
SHADOW_WORKLIFE = 3600
CLAIM_WORKLIFE = 3600
JOB_START_COUNT = 50
JOB_START_DELAY = 0
JOB_STOP_COUNT = 100
JOB_STOP_DELAY = 0
# 25.14: a starter whose container cannot be started does not end by itself.
KILLING_TIMEOUT = 4
PERIODIC_EXPR_INTERVAL = 2
MAX_PERIODIC_EXPR_INTERVAL = 2
SYSTEM_PERIODIC_HOLD =
MAX_HISTORY_LOG = 200000000
CONDOR_FSYNC = False
FILE_TRANSFER_DISK_LOAD_THROTTLE =
MAX_CONCURRENT_UPLOADS = 0
MAX_CONCURRENT_DOWNLOADS = 0
ROTATE_HISTORY_DAILY = False
"""


def condor_config(
    htcondor: Installation,
    folder: Path,
    port: int,
    extra: Sequence[str] = (),
    cpus: int = 64,
    memory_mb: int = 65536,
) -> str:
    """The text of the pool's condor_config.

    extra: lines that come last and so win.
    """
    text = TEMPLATE.format(
        release=htcondor.release,
        bin=htcondor.bin,
        sbin=htcondor.sbin,
        lib=htcondor.lib,
        libexec=htcondor.libexec,
        folder=folder,
        port=port,
        cpus=cpus,
        memory=memory_mb,
    )
    return text + "".join(f"{line}\n" for line in extra)


CONTAINERS = """\
SINGULARITY = {program}
# An HTCondor from Debian has no image of its own to find out with, so we say it.
HasSIF = True
STARTD_ATTRS = $(STARTD_ATTRS) HasSIF
"""

OSPOOL = """\
# An execution point as an OSPool pilot is one: every job runs in a container, in a small system of
# another distribution, with /srv for its folder and its home.
SINGULARITY_JOB = True
SINGULARITY_IMAGE_EXPR = ifThenElse(isUndefined(ContainerImage), "{image}", undefined)
SINGULARITY_TARGET_DIR = /srv
STARTER_NESTED_SCRATCH = False
# --home only names HOME: with --no-home nothing is mounted there, and /srv is the scratch folder.
# An image of the job's own keeps its PATH. (An expression, of machine and job; 25.14.)
SINGULARITY_EXTRA_ARGUMENTS = strcat("--no-home --home /tmp:/srv --env TZ=UTC", \
    ifThenElse(isUndefined(ContainerImage), ",PATH={path}", ""))
MOUNT_UNDER_SCRATCH = /tmp, /var/tmp
# Apptainer loses a TERM that comes while it starts a container; KILL comes after so many seconds.
MachineMaxVacateTime = 20
GLIDEIN_Site = "OSPool-like"
GLIDEIN_ResourceName = "OSPool-like-resource"
OSGVO_OS_STRING = "Debian 11"
OSGVO_OS_NAME = "Debian"
HAS_PYTHON3 = False
HAS_TIMEOUT = True
STARTD_ATTRS = $(STARTD_ATTRS) GLIDEIN_Site GLIDEIN_ResourceName OSGVO_OS_STRING OSGVO_OS_NAME
STARTD_ATTRS = $(STARTD_ATTRS) HAS_PYTHON3 HAS_TIMEOUT
"""

OSPOOL_PATH = "/usr/local/bin:/usr/bin:/bin"


def container_lines(program: Path, image: Path | None = None) -> list[str]:
    """What a pool's condor_config needs for containers.

    program: apptainer; image: what jobs without an image of their own run in, as in a pilot of the
    OSPool; none: they run on the machine itself.
    """
    text = CONTAINERS.format(program=program)
    if image is not None:
        text += OSPOOL.format(image=image, path=OSPOOL_PATH)
    return text.splitlines()
