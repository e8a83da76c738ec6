"""The condor_config of a user's personal pool: loopback only, one user, quick to react. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from osgbatch.personal_pool import DOMAIN

LOCAL_FILE = "condor_config.local"
"""In the pool's folder: settings of the user's own, which win and are never written."""
FOLDERS = ("log", "spool", "execute", "lock", "run", "tmp", "etc/passwords.d", "etc/tokens.d")
"""What must be there before it starts."""
VACATE_S = 10
"""Seconds that a job has for its end when the pool is stopped."""


@dataclass(frozen=True)
class Installation:
    """Where the parts of an HTCondor are; release is its RELEASE_DIR."""

    release: Path
    bin: Path
    sbin: Path
    libexec: Path
    lib: Path


@dataclass(frozen=True)
class Machine:
    """What jobs may have. memory_mb: MiB; container_program: apptainer's path, empty: none.

    sif: HTCondor cannot find out by itself whether images in files (.sif) run, and is told so.
    """

    host: str
    cpus: int
    memory_mb: int
    container_program: str = ""
    sif: bool = False
    gpus: bool = False


_TEMPLATE = """\
# The personal pool of {user}, made by `osgbatch pool up`, which writes this file anew each time.
# Settings of your own belong into {local_file}, beside it: they win.
RELEASE_DIR = {release}
BIN = {bin}
SBIN = {sbin}
LIBEXEC = {libexec}
LIB = {lib}
LOCAL_DIR = {folder}
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
RUN = $(LOCAL_DIR)/run
TMP_DIR = $(LOCAL_DIR)/tmp
ETC = $(LOCAL_DIR)/etc
LOCAL_CONFIG_FILE = $(LOCAL_DIR)/{local_file}
REQUIRE_LOCAL_CONFIG_FILE = False
LOCAL_CONFIG_DIR =
USER_CONFIG_FILE =
MASTER_INSTANCE_LOCK = $(LOCK)/InstanceLock

# All roles on this machine, on a port that the kernel chooses; nothing listens to the network, and
# no name service is asked. The daemons' other sockets have no files, so any folder will do.
use ROLE: Personal
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
NETWORK_HOSTNAME = {host}
DEFAULT_DOMAIN_NAME = {domain}
UID_DOMAIN = {domain}
FILESYSTEM_DOMAIN = {domain}
TRUST_UID_DOMAIN = True
COLLECTOR_NAME = the personal pool of {user}
# With an @ in it this is the whole name: no host name is added.
SCHEDD_NAME = {schedd}@{domain}

# {user} alone may look, submit and command: whoever asks must make a file as {user} (FS).
use SECURITY: recommended_v9_0
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
SEC_CLIENT_AUTHENTICATION_METHODS = FS
SEC_READ_AUTHENTICATION = REQUIRED
SEC_READ_INTEGRITY = REQUIRED
SEC_READ_ENCRYPTION = REQUIRED
ALLOW_READ = {user}@{domain}
ALLOW_WRITE = {user}@{domain}
ALLOW_DAEMON = {user}@{domain}
ALLOW_NEGOTIATOR = {user}@{domain}
ALLOW_ADMINISTRATOR = {user}@{domain}
SEC_PASSWORD_DIRECTORY = $(ETC)/passwords.d
SEC_TOKEN_POOL_SIGNING_KEY_FILE = $(ETC)/passwords.d/POOL
SEC_TOKEN_DIRECTORY = $(ETC)/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = $(ETC)/tokens.d
COLLECTOR_BOOTSTRAP_SSL_CERTIFICATE = False

# No mail, and nothing of the machine is changed.
MAIL =
CONDOR_ADMIN =
PREEN =
ENABLE_KERNEL_TUNING = False
DISCARD_SESSION_KEYRING_ON_STARTUP = False

# One slot, which is divided as jobs ask for it. A job that takes more than it asked for is held, as
# it would be in a large pool.
NUM_CPUS = {cpus}
MEMORY = {memory_mb}
use FEATURE: PartitionableSlot
use POLICY: ALWAYS_RUN_JOBS
use POLICY: HOLD_IF_MEMORY_EXCEEDED
use POLICY: HOLD_IF_DISK_EXCEEDED
RunBenchmarks = False
BENCHMARKS_JOBLIST =
MachineMaxVacateTime = {vacate_s}
KILLING_TIMEOUT = 4
# Else a job that runs would be waited for when the pool is stopped, and, where its machine was
# switched off, for 40 minutes when it is started again. (25.14.1)
MaxJobRetirementTime = 0
JOB_DEFAULT_LEASE_DURATION = 60
# DAGMan, too, goes on at once. (25.14.1: five minutes.)
SCHEDULER_UNIVERSE_COOL_DOWN_DURATION = 0
{more}
# A job starts, ends and is held within seconds. (A schedd that gets jobs asks for negotiation by
# itself, so that an idle pool does next to nothing.)
SCHEDD_INTERVAL = 5
SCHEDD_MIN_INTERVAL = 0
NEGOTIATOR_INTERVAL = 10
NEGOTIATOR_MIN_INTERVAL = 0
NEGOTIATOR_CYCLE_DELAY = 0
UPDATE_INTERVAL = 5
UPDATE_OFFSET = 0
POLLING_INTERVAL = 2
PID_SNAPSHOT_INTERVAL = 2
STARTER_UPDATE_INTERVAL = 5
STARTER_INITIAL_UPDATE_INTERVAL = 2
SHADOW_QUEUE_UPDATE_INTERVAL = 5
JOB_START_COUNT = 50
JOB_START_DELAY = 0
PERIODIC_EXPR_INTERVAL = 5
MAX_PERIODIC_EXPR_INTERVAL = 10
"""


def condor_config(
    installation: Installation, folder: Path, user: str, machine: Machine, pool_id: str = ""
) -> str:
    """The text of its condor_config. Seen to work with HTCondor 23.9 and 25.14.

    folder: the pool's own, absolute, its path without blanks and characters that mean something to
    HTCondor. pool_id: what tells its schedd from those of the user's other pools; none in the
    earliest pools.
    Sources: HTCondor manual, "use ROLE: Personal", security recommended_v9_0, configuration macros;
    htcondor2.personal.
    """
    more = []
    if machine.gpus:
        more.append("use FEATURE: GPUs")
    if machine.container_program:
        more.append(f"SINGULARITY = {machine.container_program}")
        more.append("SINGULARITY_TARGET_DIR = /srv")  # the job's folder, as on the OSPool
    if machine.container_program and machine.sif:
        more += ["HasSIF = True", "STARTD_ATTRS = $(STARTD_ATTRS) HasSIF"]
    return _TEMPLATE.format(
        user=user,
        schedd=f"{user}-{pool_id}" if pool_id else user,
        local_file=LOCAL_FILE,
        release=installation.release,
        bin=installation.bin,
        sbin=installation.sbin,
        libexec=installation.libexec,
        lib=installation.lib,
        folder=folder,
        host=machine.host,
        domain=DOMAIN,
        cpus=machine.cpus,
        memory_mb=machine.memory_mb,
        vacate_s=VACATE_S,
        more="".join(f"{line}\n" for line in more),
    )
