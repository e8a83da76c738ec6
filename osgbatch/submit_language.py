"""HTCondor's submit language: which commands a submit file may hold, and sound expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Every name here was tried on condor_submit 25.14.1 (`-dry-run` says which lines it did not use),
# or stands in its manual, or was known to condor_submit 23 and later.
_COMMANDS = """
accounting_group accounting_group_user allow_arguments_v1 allow_environment_v1
allowed_execute_duration allowed_job_duration append_files arc_application arc_data_staging
arc_resources arc_rte arguments arguments2 aws_access_key_id_file aws_region
aws_secret_access_key_file azure_admin_key azure_admin_username azure_auth_file azure_image
azure_location azure_size batch_extra_submit_args batch_id batch_name batch_project batch_queue
batch_runtime buffer_block_size buffer_files buffer_size checkpoint_destination
checkpoint_exit_code cloud_label_names common_input_files compress_files concurrency_limits
concurrency_limits_expr container_image container_is_common container_service_names
container_target_dir copy_to_spool core_size coresize cron_day_of_month cron_day_of_week cron_hour
cron_minute cron_month cron_prep_time cron_window cuda_version dag_node_name dagman_job_id
dagman_log deferral_prep_time deferral_time deferral_window delegate_job_gsi_credentials_lifetime
description disk_usage docker_image docker_network_type docker_override_entrypoint
docker_pull_policy docker_send_credentials dont_encrypt_input_files dont_encrypt_output_files
ec2_access_key_id ec2_ami_id ec2_availability_zone ec2_block_device_mapping ec2_ebs_volumes
ec2_elastic_ip ec2_iam_profile_arn ec2_iam_profile_name ec2_instance_type ec2_key_pair_file
ec2_keyp_air ec2_keypair ec2_keypair_file ec2_parameter_names ec2_secret_access_key
ec2_security_groups ec2_security_ids ec2_spot_price ec2_tag_names ec2_user_data ec2_user_data_file
ec2_vpc_ip ec2_vpc_subnet email_attributes encrypt_execute_directory encrypt_input_files
encrypt_output_files env environment environment2 erase_output_and_error_on_restart error
executable exit_requirements fetch_files file_remaps gce_account gce_auth_file gce_image
gce_json_file gce_machine_type gce_metadata gce_metadata_file gce_preemptible get_env getenv
gpus_maximum_capability gpus_minimum_capability gpus_minimum_memory gpus_minimum_runtime
grid_resource gs_access_key_id_file gs_secret_access_key_file hold hold_kill_sig image_size
initial_dir initialdir input interactive_args interactive_executable jar_files java_vm_args
java_vm_arguments java_vm_arguments2 job_ad_information_attrs job_iwd job_lease_duration
job_machine_attrs job_machine_attrs_history_length job_max_vacate_time jobset jobvm_macaddr
keep_claim_idle kill_sig kill_sig_timeout leave_in_queue load_profile local_files log log_xml
machine_count manifest manifest_dir match_list_length materialize_max_idle max_idle
max_job_retirement_time max_materialize max_retries max_transfer_input_mb max_transfer_output_mb
memory_usage mount_under_scratch next_job_start_delay nice_user node_count nodecount noop_job
noop_job_exit_code noop_job_exit_signal notification notify_user on_evict_checks on_exit_hold
on_exit_hold_reason on_exit_hold_subcode on_exit_remove output output_destination output_directory
parallel_script_shadow parallel_script_starter periodic_hold periodic_hold_reason
periodic_hold_subcode periodic_release periodic_remove periodic_vacate preferences
preserve_relative_paths primary_unix_group prio priority project_name public_input_files rank
remote_initialdir remove_kill_sig rendezvousdir request_cpus request_disk request_gpus
request_memory require_gpus requirements retry_request_disk retry_request_memory
retry_request_memory_increase retry_request_memory_max retry_until run_as_owner
s3_access_key_id_file s3_secret_access_key_file scitokens_file send_credential shell
should_transfer_files skip_filechecks skip_if_dataflow stack_size starter_debug starter_log stderr
stdin stdout stream_error stream_input stream_output submit_allow_duplicate_matches
submit_event_notes submit_event_notes_attrs submit_event_user_notes submit_fail_empty_fields
submit_fail_empty_matches submit_match_directories submit_warn_duplicate_matches
submit_warn_empty_fields submit_warn_empty_matches success_exit_code suspend_job_at_exec
tool_daemon_args tool_daemon_arguments tool_daemon_arguments2 tool_daemon_cmd tool_daemon_error
tool_daemon_input tool_daemon_output transfer_checkpoint_files transfer_common_input
transfer_container transfer_error transfer_executable transfer_input transfer_input_files
transfer_output transfer_output_files transfer_output_remaps transfer_plugins transferinputfiles
transferoutputfiles ulog_execute_attrs universe use_oauth_services use_scitoken use_scitokens
use_x509userproxy useoauthservices vm_checkpoint vm_disk vm_macaddr vm_memory vm_networking
vm_networking_type vm_no_output_vm vm_type vm_vcpus vm_vnc want_ads want_graceful_removal
want_io_proxy want_job_networking wantnametag when_to_transfer_output x509userproxy xen_initrd
xen_kernel xen_kernel_params xen_root
"""

# condor_submit takes these names of job attributes, too, without a `+`.
_ATTRIBUTES = """
acctgroupuser allowedexecuteduration allowedjobduration appendfiles arcapplication arcdatastaging
arcresources arcrte args awsregion azureadminkey azureadminusername azureauthfile azureimage
azurelocation azuresize batchextrasubmitargs batchproject batchqueue batchruntime bufferblocksize
bufferfiles buffersize cloudlabelnames commoninputfiles compressfiles containerimage
containeriscommon containerservicenames containertargetdir crondayofmonth crondayofweek cronhour
cronminute cronmonth cronpreptime cronwindow cudaversion dagmanjobid dagmannodeslog dagnodename
deferralpreptime deferraltime deferralwindow delegatejobgsicredentialslifetime dockerimage
dockernetworktype dockeroverrideentrypoint dockerpullpolicy dockersendcredentials
dontencryptinputfiles dontencryptoutputfiles ec2accesskeyid ec2amiid ec2availabilityzone
ec2blockdevicemapping ec2elasticblockstoragevolumes ec2elasticip ec2iamprofilearn ec2iamprofilename
ec2instancetype ec2keypair ec2keypairfile ec2paramnames ec2secretaccesskey ec2securitygroups
ec2securityids ec2spotprice ec2tagnames ec2userdata ec2userdatafile ec2vpcip ec2vpcsubnet
emailattributes encryptexecutedirectory encryptinputfiles encryptoutputfiles
eraseoutputanderroronrestart fetchfiles fileremaps gceaccount gceauthfile gceimage gcejsonfile
gcemachinetype gcemetadata gcemetadatafile gcepreemptible gpusmaxcapability gpusmincapability
gpusminmemory gpusminruntime holdkillsig isnoopjob iwd jarfiles javavmargs jobadinformationattrs
jobbatchid jobbatchname jobdescription jobleaseduration jobmachineattrs
jobmachineattrshistorylength jobmaterializelimit jobmaterializemaxidle jobmaxretries
jobmaxvacatetime jobnotification jobprio jobsetname jobstarterdebug jobstarterlog
jobsuccessexitcode jobuniverse jobvmcheckpoint jobvmnetworking jobvmnetworkingtype jobvmvncconsole
keepclaimidle killsigtimeout lastmatchlistlength leavejobinqueue loadprofile localfiles
manifestdesired manifestdir maxjobretirementtime maxtransferinputmb maxtransferoutputmb
mountunderscratch nextjobstartdelay niceuser noopjobexitcode noopjobexitsignal notifyuser
onexithold onexitholdreason onexitholdsubcode onexitremove outputdestination outputdirectory
parallelscriptshadow parallelscriptstarter periodichold periodicholdreason periodicholdsubcode
periodicrelease periodicremove periodicvacate preserverelativepaths primaryunixgroup
publicinputfiles remoteiwd removekillsig requestcpus requestdisk requestgpus requestmemory
requiregpus runasowner scitokensfile shouldtransferfiles skipifdataflow stacksize streamerr
streamin streamout submiteventnotes submiteventnotesattrs submiteventusernotes
submitfailemptyfields submitfailemptymatches submitwarnduplicatematches submitwarnemptyfields
submitwarnemptymatches successcheckpointexitcode suspendjobatexec tooldaemonargs tooldaemoncmd
tooldaemonerror tooldaemoninput tooldaemonoutput transfercheckpoint transfercontainer transfererr
transferexecutable transferin transferout transferoutputremaps transformonevict userlog
userlogexecuteeventattrs userlogusexml vmparam_xen_kernel_params wantgracefulremoval wantioproxy
wantjobnetworking wantparallelscheduling whentotransferoutput accountinggroup checkpointdestination
diskusage imagesize killsig projectname transferplugins
"""

# Commands that access points add (EXTENDED_SUBMIT_COMMANDS), of those that the documentation names.
_EXTENDED = """
want_campus_pools want_ospool
"""

KNOWN_COMMANDS: frozenset[str] = frozenset((_COMMANDS + _ATTRIBUTES + _EXTENDED).split())
"""The names of all submit commands, in lower case; see also `known_command`."""

_MISTAKEN = frozenset(["request_cpu", "request_gpu", "request_gpu_memory", "request_gpus_memory"])
"""What condor_submit refuses or warns of, though it begins like a custom resource."""

_OPEN_NAMES = re.compile(
    # custom resources of a pool; tags and labels of clouds; the job of another schedd
    r"(request|require|ec2_tag|ec2_parameter|cloud_label|remote|transform_body)_\w+"
    r"|\w+_container_port|\w+_oauth_(permissions|resource|options)(_\w+)?",
)


def known_command(key: str) -> bool:
    """Whether `key` is a submit command, in any case, or one of a family such as request_<name>."""
    name = key.lower()
    if name in _MISTAKEN:
        return False
    return name in KNOWN_COMMANDS or _OPEN_NAMES.fullmatch(name) is not None


def custom_attribute(key: str) -> bool:
    """Whether `key` sets an attribute of the job of the user's own: `+Attr` or `My.Attr`."""
    return re.fullmatch(r"(\+|my\.)[a-z_]\w*", key, re.IGNORECASE | re.ASCII) is not None


def joined_name(name: str) -> str:
    """HTCondor knows a command as job_max_retries and as JobMaxRetries."""
    return name.lower().replace("_", "")


def one_name(key: str) -> str:
    """The same for all spellings of a command, or of an attribute: rank, Rank; +Size, MY.size."""
    name = re.sub(r"^my\.", "+", key.lower())
    return name if name.startswith("+") else joined_name(name)


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_TRAPS = (
    (r"'[^']*'?", "single quotes name an attribute, not text", 'Write "{inner}".'),
    (r"\bx86[_-]64-v[1-4]\b", "{found} is taken for an attribute, or a sum", 'Write "{found}".'),
    (r"(?<![=!<>?])=(?![=?!])", "a single = compares nothing", "Write ==."),
)


def classad_problems(text: str) -> Iterator[tuple[int, int, str, str]]:
    """What is wrong with a ClassAd expression: offset, width, what, and what to write.

    Source: ClassAd language reference; 'x' is the attribute x, and curly quotes are no quotes.
    """
    curly = re.search(r"[“”‘’]", text)
    if curly:
        fix = 'Write straight ones, ".'
        yield curly.start(), 1, f"{curly[0]} is a curly quote, which HTCondor does not know", fix
        return
    bare = _STRING.sub(lambda match: "_" * len(match[0]), text)
    if '"' in bare:
        yield bare.index('"'), 1, "the quote is not closed", 'Close it with ".'
        return
    for pattern, what, fix in _TRAPS:
        for match in re.finditer(pattern, bare):
            words = {"found": match[0], "inner": match[0].strip("'")}
            yield match.start(), len(match[0]), what.format(**words), fix.format(**words)
    for match in re.finditer(r"//|/\*", bare):
        what = "a comment would take in what osgbatch writes behind it"
        yield match.start(), 2, what, "Leave it out."
        return
    broken = list(_bracket_problems(bare))
    yield from broken or _operator_problems(text, bare)


_PIECE = re.compile(
    r"""(?P<blank>\s+)
    | (?P<value>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\w* | \.\d+(?:[eE][-+]?\d+)?\w*
      | \.?[A-Za-z_]\w*(?:\.\w+)*)
    | (?P<operator>=\?=|=!=|==|!=|<=|>=|&&|\|\||<<|>>>?|\?:|[-+*/%<>&|^!~?:,])
    | (?P<open>[(\[{]) | (?P<close>[)\]}])""",
    re.VERBOSE,
)
_PREFIX = frozenset("!-+~")
_WORDS = {"and": "&&", "or": "||", "not": "!"}


def _operator_problems(text: str, bare: str) -> Iterator[tuple[int, int, str, str]]:
    """Operators without their values, and values without an operator: the first of them.

    bare: the text with `_` in place of what is quoted. What is not known here is let pass.
    """
    last: re.Match[str] | None = None
    at = 0
    while at < len(bare):
        piece = _PIECE.match(bare, at)
        if piece is None:
            return
        at = piece.end()
        if piece.lastgroup == "blank":
            continue
        problem = _meeting(text, last, piece)
        if problem:
            width = piece.end() - piece.start()
            yield (piece.start(), width, *problem)
            return
        last = piece
    if last is not None and _is_operator(last):
        width = last.end() - last.start()
        yield (
            last.start(),
            width,
            f"something is missing after {last[0]}",
            "Write it, or leave it out.",
        )


def _is_operator(piece: re.Match[str]) -> bool:
    return piece.lastgroup == "operator" or piece[0].lower() in ("is", "isnt")


def _meeting(text: str, last: re.Match[str] | None, piece: re.Match[str]) -> tuple[str, str] | None:
    """What is wrong with a piece behind the last one, and what to write; None when nothing is."""
    found = text[piece.start() : piece.end()]
    wants_value = last is None or last.lastgroup == "open" or _is_operator(last)
    if not wants_value and (piece.lastgroup == "value" and not _is_operator(piece)):
        if last is not None and last.lastgroup == "close" and found.startswith("."):
            return None  # an attribute of a record
        word = found.lower()
        if word in _WORDS:
            return f"{found} is taken for an attribute", f"Write {_WORDS[word]}."
        return f"no operator stands before {found}", "Write && or ||, or == to compare."
    if wants_value and _is_operator(piece) and found not in _PREFIX:
        if last is None or last.lastgroup == "open":
            return f"something is missing before {found}", "Write it, or leave it out."
        if last[0] == "?" and found == ":":
            return None
        return f"{found} follows {last[0]} with nothing between", "Leave one of them out."
    if piece.lastgroup == "close" and last is not None and _is_operator(last):
        return f"something is missing after {last[0]}", "Write it, or leave it out."
    return None


def _bracket_problems(bare: str) -> Iterator[tuple[int, int, str, str]]:
    """Brackets that do not match: what stands behind them could leave the parentheses around it."""
    open_at: list[int] = []
    for offset, character in enumerate(bare):
        if character in _CLOSING:
            open_at.append(offset)
        elif character in _CLOSING.values():
            if not open_at:
                yield offset, 1, "this bracket closes nothing", "Leave it out."
                return
            wanted = _CLOSING[bare[open_at.pop()]]
            if character != wanted:
                yield offset, 1, "this bracket closes another one", f"Write {wanted}."
                return
        elif character in ",;" and not open_at:
            yield offset, 1, f'"{character}" joins nothing here', "Write && or ||."
            return
    if open_at:
        closing = _CLOSING[bare[open_at[-1]]]
        yield open_at[-1], 1, "the bracket is not closed", f"Close it with {closing}."


MEDIUM_S = 10 * 3600
"""Seconds of a job above which the OSPool's JobDurationCategory is Long."""


def duration_category(seconds: int) -> str:
    """The OSPool's JobDurationCategory of jobs that may take this long."""
    return "Long" if seconds > MEDIUM_S else "Medium"
