"""Every submit command in a sentence or two of our own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from osgbatch.explaining import commands_other, pages
from osgbatch.explaining.pages import whole_lines
from osgbatch.submit_language import joined_name, known_command


@dataclass(frozen=True)
class Command:
    """A submit command. name: as the manual has it; page, anchor: where it stands there."""

    name: str
    text: str
    page: str
    anchor: str = ""


# name, or names that share it | the sentence; a line that begins with blanks continues the one
# above. ~ : it has no entry of its own in the manual's page.
_TABLE = """
executable | The program that HTCondor starts. It is brought along, unless transfer_executable is
  false. osgbatch puts its shim here, which starts your command.
arguments, ~arguments2 | The words that the program is given. In the new form the whole stands in
  "…", and '…' inside holds blanks together; without the outer quotes it is split at blanks, and
  nothing quotes.
environment, ~environment2 | Environment variables of the job: "A=1 B='two words'". Nothing else of
  your shell comes along.
getenv, ~get_env | Copies variables of your shell into the job, those that a list of patterns names,
  or all. On other machines those of this one (PATH, PYTHONPATH) most often do harm.
shell | A line for /bin/sh in place of executable and arguments (24.7 and later).
universe | What kind of job this is. vanilla is the usual one; container and docker run in an image,
  local and scheduler on the access point itself, parallel, grid, java and vm are for special ends.
batch_name | The name under which condor_q shows all jobs of this batch on one line.
input | The file that the program reads as its stdin; /dev/null unless given.
output | The file on the access point that gets the job's stdout, when the job ends. Each job needs
  its own, as with $(ProcId): else the last one to end wins.
error | The file on the access point that gets the job's stderr, when the job ends. Each job needs
  its own.
log | The job event log: when jobs start, end and are held, and what they used. One for all jobs is
  best. osgbatch reads only this to follow a batch.
notification | When a mail is sent: Never (the default), Complete, Error, Always, or Start.
notify_user | The address that mail about the job goes to.
priority, ~prio | Orders your own jobs; a higher one starts first. It says nothing against jobs of
  others. 0 is the default.
queue | Makes the jobs: `queue 10` ten, `queue x from file` one for each line of the file, `queue x
  in (a b)` one for each word, `queue x matching *.dat` one for each file. There should be one
  queue, at the end.
initialdir, ~initial_dir, ~job_iwd | The folder on the access point that relative paths of inputs
  and outputs start from; the executable's path does not.
max_idle, ~materialize_max_idle | Late materialization: the queue holds only so many waiting (or
  held) jobs, and makes more as these start. It lets one file submit a million jobs. Held jobs
  count, so many holds stop it.
max_materialize | Late materialization, too: so many jobs of this cluster are in the queue at a
  time, waiting, running or held.
requirements | An expression that must be true of a slot for the job to run there. HTCondor adds
  what request_* ask for. An attribute that the slot lacks makes it undefined, which is not true.
rank | Which of the slots that fit is liked best: a higher number is better.
request_cpus | How many CPU cores the job needs; 1 unless given.
request_memory | How much memory the job needs; a bare number is in MB. A job that uses more is
  stopped or held. Without it a job gets what the pool gives by default, often 128 MB.
request_disk | How much disk the job needs, for its inputs, its outputs and what it unpacks; a bare
  number is in KB.
request_gpus | How many GPUs the job needs; none unless given.
require_gpus | An expression that each GPU must fulfil.
gpus_minimum_memory | The least memory of each GPU; a bare number is in MB. Ignored without
  request_gpus.
gpus_minimum_capability | The least compute capability of each GPU, such as 7.0. Ignored without
  request_gpus.
gpus_maximum_capability | The largest compute capability of each GPU. Ignored without request_gpus.
gpus_minimum_runtime | The least version of the GPU's runtime (CUDA) that the driver must know.
retry_request_memory | What the job asks for next when it was stopped for using too much memory: one
  or more sizes, each larger than the last (25.2.1 and later).
retry_request_memory_increase | By how much, or to what (an expression with RequestMemory), the
  memory asked for grows after each such stop (25.2.1 and later).
retry_request_memory_max | Up to how much retry_request_memory_increase may go; a job that needs
  still more is held (25.2.1 and later).
retry_request_disk | The same for disk: what the job asks for when it was stopped for using too much
  (25.10.1 and later).
should_transfer_files | Whether HTCondor brings files to the job and back: YES, NO (there is a
  shared file system), or IF_NEEDED.
when_to_transfer_output | When outputs come back: ON_EXIT, when the job ends; ON_SUCCESS, only when
  it ends well; ON_EXIT_OR_EVICT, also when it is thrown off a machine.
transfer_input_files, ~transferinputfiles | Files, folders and URLs that are brought to the job,
  separated by commas. All arrive in one folder under their last names; a folder written with a / at
  its end brings only what is in it.
transfer_output_files, ~transferoutputfiles | What is brought back. Without it: all new and changed
  files at the top of the scratch folder, no subfolders. A named file that is not there holds the
  job (code 12).
transfer_output_remaps | Other names, or URLs, for files that come back: "made = wanted; made2 =
  wanted2".
transfer_executable | Whether the executable is brought along; false for what lies on the execution
  point, or in the image.
preserve_relative_paths | Files keep their relative paths on the way, in place of landing in one
  folder under their last names.
transfer_checkpoint_files | What is kept when the job says (by checkpoint_exit_code) that it has
  saved its state.
checkpoint_exit_code | The exit code by which a program says: I have saved my state, start me again.
checkpoint_destination | A URL where checkpoints are kept, in place of the access point.
output_destination | A URL that all outputs go to, by a plugin.
output_directory | The folder that all outputs go to (25.5 and later); it may hold $(ProcId).
max_transfer_input_mb | A job whose inputs are larger than so many MB is held (code 32).
max_transfer_output_mb | A job whose outputs are larger than so many MB is held (code 33).
skip_filechecks | Whether condor_submit leaves out its look at the files it is told of.
skip_if_dataflow | Skips a job whose outputs are newer than its inputs, as make does.
stream_output | Brings stdout while the job runs, not at its end. It burdens the access point.
stream_error | Brings stderr while the job runs, not at its end. It burdens the access point.
stream_input | Brings stdin piece by piece while the job runs.
public_input_files | Inputs that a web server on the access point gives to jobs, where one is set
  up; anyone may read them.
transfer_plugins | Programs of yours that fetch URLs of a kind that HTCondor does not know.
encrypt_execute_directory | Keeps the job's scratch folder encrypted on the execution point.
encrypt_input_files | Input files that are encrypted on their way, whatever the pool says.
encrypt_output_files | Output files that are encrypted on their way, whatever the pool says.
dont_encrypt_input_files | Input files that are not encrypted on their way, whatever the pool says.
dont_encrypt_output_files | Output files that are not encrypted on their way, whatever the pool
  says.
erase_output_and_error_on_restart | Whether stdout and stderr begin anew when the job starts again
  (with ON_EXIT_OR_EVICT).
aws_access_key_id_file, s3_access_key_id_file | A file with the id of the key by which HTCondor
  signs s3:// URLs. The file itself stays on the access point.
aws_secret_access_key_file, s3_secret_access_key_file | A file with the secret key by which HTCondor
  signs s3:// URLs. The file itself stays on the access point.
aws_region | The region of the bucket, where the URL does not say it.
gs_access_key_id_file | A file with the id of the key by which HTCondor signs gs:// URLs.
gs_secret_access_key_file | A file with the secret key by which HTCondor signs gs:// URLs.
max_retries | How often a job that ended badly is started again. A job that succeeded is not.
retry_until | An exit code, or an expression, that ends the retries. Without max_retries it means
  two retries.
success_exit_code | The exit code that means success; 0 unless given. Without max_retries it means
  two retries.
allowed_execute_duration | For how many seconds the program may run, file transfer not counted; then
  the job is held (code 47).
allowed_job_duration | For how many seconds the job may be running, file transfer counted; then it
  is held (code 46).
hold | Submits the job on hold: it waits for condor_release. It is ignored with max_idle.
on_exit_hold | When the job ends: held, if this expression is true.
on_exit_hold_reason | The text of such a hold.
on_exit_hold_subcode | The subcode of such a hold; its code is 3.
on_exit_remove | When the job ends: it leaves the queue if this is true; else it starts again.
periodic_hold | Looked at every minute or so: the job is held when it is true.
periodic_hold_reason | The text of a hold by periodic_hold. In place of an expression with no value,
  HTCondor's own words stand.
periodic_hold_subcode | The subcode of a hold by periodic_hold; its code is 3.
periodic_release | Looked at every minute or so while the job is held: it is released when this is
  true. Not when you have held it yourself. Without a bound it starts for ever.
periodic_remove | Looked at every minute or so: the job is removed when it is true.
periodic_vacate | Looked at every minute or so: a running job is put back into the queue when it is
  true.
leave_in_queue | The job stays in the queue, as completed, while this is true.
keep_claim_idle | For how many seconds the slot is kept after the job has ended, for another job of
  yours.
next_job_start_delay | Seconds between the starts of two jobs; no longer of use.
container_image | The image that the job runs in: a .sif file, a URL of one, docker://…, or a
  folder. HTCondor brings it by itself; do not put it in quotes.
container_target_dir | Where in the image the scratch folder appears, as the job's working folder.
mount_under_scratch | Folders in the image that are empty and may be written: they are part of the
  scratch folder (24.3 and later).
transfer_container | Whether the image is brought; false when it lies on the execution points.
container_is_common | Whether the image counts as a file that all jobs of a cluster share, brought
  once for several (25.2 and later).
container_service_names | Names of ports in the container that must be reached from outside.
docker_image | The image of the docker universe.
docker_network_type | The network of a docker job: host, none, or one of the site's.
docker_pull_policy | always: the image is looked for anew each time.
docker_override_entrypoint | The executable takes the place of the image's entrypoint.
~docker_send_credentials | Whether your Docker login goes along, to fetch private images.
accounting_group | The group that the job's use is counted for, where the pool has groups.
accounting_group_user | The name in that group that the use is counted for.
~project_name | The project that the use is counted for; it sets ProjectName (25.6.1 and later;
  before, +ProjectName = "X"). On the OSPool a job without a project waits for ever.
concurrency_limits | Names of things of which there are only so many, such as licences: jobs with
  one of them wait for each other.
concurrency_limits_expr | The same as an expression that is worked out for each slot.
nice_user | Runs only where no one else wants to.
description | Words that condor_q shows in place of the program's name.
job_lease_duration | For how many seconds the job goes on running when the access point is out of
  reach; 2400 unless given.
job_machine_attrs | Attributes of the slot that are noted in the job's ad at each start, as
  MachineAttr<Name>0.
job_machine_attrs_history_length | How many starts back those notes go.
job_ad_information_attrs | Attributes of the job that are written into the event log with each
  event.
ulog_execute_attrs | Attributes of the slot that are written into the event log when the job starts.
email_attributes | Attributes of the job that stand in the mail about it.
job_max_vacate_time | How many seconds the job is given to end when it is thrown off a machine.
max_job_retirement_time | For how many seconds the job may go on when another one is to have its
  slot.
want_graceful_removal | Whether a removed job is given time to end cleanly.
kill_sig | The signal by which a job is told to end; SIGTERM unless given.
kill_sig_timeout | Seconds between that signal and KILL; job_max_vacate_time has taken its place.
hold_kill_sig | The signal for a job of the scheduler universe that is held.
remove_kill_sig | The signal for a job of the scheduler universe that is removed.
deferral_time | The time (seconds since 1970) at which the program is to start; the slot waits for
  it.
deferral_window | By how many seconds a job may miss that time.
deferral_prep_time | How many seconds before that time a slot is looked for.
cron_minute, cron_hour, cron_day_of_month, cron_month, cron_day_of_week | When the job is to start,
  as in a crontab. It stays in the queue and runs at the next such time.
cron_window | By how many seconds a job may miss its cron time.
cron_prep_time | How many seconds before its cron time a slot is looked for.
run_as_owner | Whether the job runs under your own user on the execution point.
use_oauth_services | Services whose tokens the job is given, such as box or scitokens.
want_job_networking | false: the job also runs where there is no network.
submit_event_notes | Words in the first event of the log; DAGMan uses it.
submit_event_user_notes | Words of yours in the first event of the log.
submit_event_notes_attrs | Attributes of the job that are added to the first event of the log (25.13
  and later).
log_xml | Writes the event log as XML.
manifest | Makes lists of the files that were there before and after the job, and of its
  environment.
manifest_dir | The folder for these lists.
match_list_length | How many names of slots the job was matched with are kept in its ad.
image_size | How much virtual memory the job needs; request_memory has taken its place.
coresize, ~core_size | How large a core file may be, in bytes; 0: none.
stack_size | How much stack the job gets, in bytes.
starter_debug | Writes what the starter (the daemon that runs the job) does into the scratch folder.
starter_log | Brings that file home, under this name.
noop_job | The job is not run at all, and counts as done.
noop_job_exit_code | The exit code that such a job is said to have had.
noop_job_exit_signal | The signal that such a job is said to have been killed by.
primary_unix_group | The Unix group that the job's files belong to, one of yours (24.2 and later).
dagman_log | The event log that DAGMan watches; it sets this by itself.
~transfer_common_input, ~common_input_files | Inputs that all jobs of the cluster share, brought
  once for several jobs that run on one machine (25.14 and later).
~want_ospool, ~want_campus_pools | A command that access points of CHTC add: whether the job may
  also run on the OSPool, or in the campus's other pools.
"""


def _rows(table: str) -> dict[str, Command]:
    found: dict[str, Command] = {}
    for line in whole_lines(table):
        names, _, text = line.partition(" | ")
        for name in names.split(", "):
            plain = name.removeprefix("~")
            anchor = "" if name.startswith("~") else plain
            found.setdefault(joined_name(plain), Command(plain, text, pages.JDL, anchor))
    return found


@cache
def table() -> dict[str, Command]:
    """All commands that have a sentence of their own, by their names without underscores."""
    found = _rows(commands_other.TABLE) | _rows(_TABLE)
    for alias, name in commands_other.SAME.items():
        found.setdefault(alias, found[joined_name(name)])
    return found


def explain(word: str) -> Command | None:
    """What is known of a submit command in any of its spellings; None for what is none."""
    found = table().get(joined_name(word))
    if found is not None:
        return found
    if not known_command(word):
        return None
    name = word.lower()
    for start, end, text, anchor in commands_other.FAMILIES:
        if name.startswith(start) and name.endswith(end) and len(name) > len(start + end):
            told = text.format(name=name[len(start) : len(name) - len(end)])
            return Command(name, told, pages.JDL, anchor)
    return Command(name, "A submit command of which no more is known here.", pages.JDL)
