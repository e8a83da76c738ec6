"""Submit commands that few need: of other universes, clouds and old versions; other spellings."""

from __future__ import annotations

# As in commands.py: names | sentence; ~ : without an entry of its own in the manual's page.
TABLE = """
grid_resource | For the grid universe: which other system the job goes to (condor, batch, arc, ec2,
  gce, azure) and where that is.
arc_application, arc_data_staging, arc_resources | For the grid universe, type arc: XML for that
  part of ARC's own job description.
arc_rte | For the grid universe, type arc: runtime environments that the job needs.
azure_admin_key | For Azure: the file of the public key that the administrator logs in with.
azure_admin_username | For Azure: the name of the administrator's account in the instance.
azure_auth_file | For Azure: the file that lets HTCondor use your account.
azure_image | For Azure: the disk image that the instance starts from.
azure_location | For Azure: where the instance runs.
azure_size | For Azure: what kind of machine it is.
batch_extra_submit_args | For the grid universe, type batch: more options for the other batch
  system's submit command.
batch_project | For the grid universe, type batch: the project that the other batch system charges.
batch_queue | For the grid universe, type batch: the queue of the other batch system.
batch_runtime | For the grid universe, type batch: the longest run, in seconds, that the other batch
  system allows.
~batch_id | The id of the batch that condor_q groups jobs by; most use batch_name.
cloud_label_names | For Google's cloud: the labels of the instance, in upper and lower case.
delegate_job_GSI_credentials_lifetime | For how many seconds a proxy that goes along is valid.
ec2_access_key_id | For EC2: the file with the access key.
ec2_secret_access_key | For EC2: the file with the secret key.
ec2_ami_id | For EC2: the machine image.
ec2_availability_zone | For EC2: the zone that the instance runs in.
ec2_block_device_mapping | For EC2: which block device is which in the kernel.
ec2_ebs_volumes | For EC2: volumes that the instance gets.
ec2_elastic_ip | For EC2: an elastic IP address for the instance.
ec2_iam_profile_arn, ec2_iam_profile_name | For EC2: the IAM profile of the instance.
ec2_instance_type | For EC2: what kind of machine it is.
ec2_keypair, ~ec2_keyp_air, ~ec2_key_pair | For EC2: the name of a key pair that EC2 knows.
ec2_keypair_file, ~ec2_key_pair_file | For EC2: the file that a new key is written to.
ec2_parameter_names | For EC2: names of more parameters of the instance.
ec2_security_groups, ec2_security_ids | For EC2: the security groups of the instance.
ec2_spot_price | For EC2: what you would pay for an hour at most.
ec2_tag_names | For EC2: the tags of the instance, in upper and lower case.
ec2_user_data, ec2_user_data_file | For EC2: data that the instance can read.
ec2_vpc_ip, ec2_vpc_subnet | For EC2: the address, or the subnet, in a private cloud.
WantNameTag | For EC2: whether HTCondor gives the instance a name tag.
gce_account | For Google's cloud: the account.
gce_auth_file | For Google's cloud: the file that lets HTCondor use it.
gce_image | For Google's cloud: the disk image.
gce_json_file | For Google's cloud: JSON that is added to the description of the instance.
gce_machine_type | For Google's cloud: what kind of machine it is.
gce_metadata, gce_metadata_file | For Google's cloud: metadata of the instance.
gce_preemptible | For Google's cloud: whether the instance may be taken away.
transfer_error | For the grid universe: whether stderr comes back.
transfer_input | For the grid universe: whether stdin is sent. For other files:
  transfer_input_files.
transfer_output | For the grid universe: whether stdout comes back. For other files:
  transfer_output_files.
use_x509userproxy | The job is given your X.509 proxy.
x509userproxy | Which X.509 proxy the job is given.
use_scitokens, ~use_scitoken | For the grid universe: the job is sent with a SciToken.
scitokens_file | For the grid universe: the file of that token.
jar_files | For the java universe: JAR files that are brought along.
java_vm_args, ~java_vm_arguments, ~java_vm_arguments2 | For the java universe: options of the Java
  machine itself.
machine_count, ~node_count | For the parallel universe: how many machines the job runs on at once.
~parallel_script_shadow, ~parallel_script_starter | For the parallel universe: a script that starts
  or ends it.
vm_type | For the vm universe: xen or kvm.
vm_memory | For the vm universe: the memory of the machine, in MB.
vm_disk | For the vm universe: its disk files.
vm_checkpoint | For the vm universe: whether its state is saved.
vm_macaddr, ~jobvm_macaddr | For the vm universe: its MAC address.
vm_networking, vm_networking_type | For the vm universe: whether it has a network, and of which
  kind.
vm_no_output_vm | For the vm universe: nothing is brought back.
~vm_vcpus | For the vm universe: how many CPUs it has.
~vm_vnc | For the vm universe: whether its screen can be seen by VNC.
xen_initrd, xen_kernel, xen_kernel_params, xen_root | For the vm universe with Xen: how its kernel
  is started.
cuda_version | The CUDA version that the driver must know; gpus_minimum_runtime has taken its place.
load_profile | On Windows: loads the profile of the account.
remote_initialdir | The folder that the job starts in on the remote machine.
rendezvousdir | A shared folder by which one proves who one is to a remote schedd.
~allow_arguments_v1, ~allow_environment_v1 | Whether the old form is also written into the ad, for
  very old versions.
~append_files | Files that a job of the old standard universe appended to.
~buffer_files, ~buffer_size, ~buffer_block_size | How files were buffered in the old standard
  universe.
~compress_files | Files that were compressed in the old standard universe.
~fetch_files, ~file_remaps, ~local_files | How files were reached in the old standard universe.
~copy_to_spool | Copies the executable into the schedd's own folder; gone since 25.8.
~dag_node_name | The name of the DAG's node; DAGMan sets it.
~dagman_job_id | The job id of the DAGMan that submitted this; DAGMan sets it.
~disk_usage | How much disk the job is thought to use, in KB; request_disk is what it asks for.
~memory_usage | How much memory the job is thought to use; request_memory is what it asks for.
~exit_requirements | Gone: condor_submit refuses it; see on_exit_remove.
~on_evict_checks | What was looked at when the job is thrown off a machine.
~interactive_args, ~interactive_executable | What an interactive job (condor_submit -interactive)
  starts.
~job_prio | Orders your own jobs; see priority.
~jobset | The set of jobs that this one belongs to, where job sets are switched on.
~preferences | The old name of rank.
~send_credential | Whether the job is sent with a credential of the access point.
~submit_allow_duplicate_matches, ~submit_warn_duplicate_matches | Whether `queue … matching` may
  find a file twice, or warns of it.
~submit_fail_empty_fields, ~submit_warn_empty_fields | Whether an item without all its values is an
  error, or a warning.
~submit_fail_empty_matches, ~submit_warn_empty_matches | Whether it is an error, or a warning, that
  `queue … matching` finds nothing.
~submit_match_directories | Whether `queue … matching` finds folders, too.
~suspend_job_at_exec | Suspends the job when it starts, for a debugger.
~tool_daemon_cmd, ~tool_daemon_args, ~tool_daemon_arguments, ~tool_daemon_arguments2,
  ~tool_daemon_error, ~tool_daemon_input, ~tool_daemon_output | A program that runs beside the job,
  such as a debugger.
~transform_on_evict | What becomes of the job's ad when it is thrown off a machine.
~want_ads | Whether the job may read the ads of daemons.
~want_io_proxy | The job may read and write files of the access point by Chirp.
~want_parallel_scheduling | The job is scheduled as one of the parallel universe.
~stdin | The file that the program reads as its stdin; see input.
~jobadinformationattrs | Attributes of the job that are written into the event log with each event.
"""

SAME = {
    "args": "arguments", "env": "environment", "stdout": "output", "stderr": "error",
    "iwd": "initialdir", "jobprio": "priority", "jobuniverse": "universe",
    "jobbatchname": "batch_name", "jobbatchid": "batch_id", "jobnotification": "notification",
    "jobmaxretries": "max_retries", "jobsuccessexitcode": "success_exit_code",
    "jobmaterializemaxidle": "max_idle", "jobmaterializelimit": "max_materialize",
    "successcheckpointexitcode": "checkpoint_exit_code", "userlog": "log", "userlogusexml":
    "log_xml", "userlogexecuteeventattrs": "ulog_execute_attrs", "manifestdesired": "manifest",
    "gpusmaxcapability": "gpus_maximum_capability", "gpusmincapability": "gpus_minimum_capability",
    "gpusminmemory": "gpus_minimum_memory", "gpusminruntime": "gpus_minimum_runtime",
    "lastmatchlistlength": "match_list_length", "leavejobinqueue": "leave_in_queue",
    "isnoopjob": "noop_job", "jobstarterdebug": "starter_debug", "jobstarterlog": "starter_log",
    "jobdescription": "description", "jobsetname": "jobset", "acctgroupuser":
    "accounting_group_user", "streamerr": "stream_error", "streamin": "stream_input",
    "streamout": "stream_output", "transfererr": "transfer_error", "transferin": "transfer_input",
    "transferout": "transfer_output", "transfercheckpoint": "transfer_checkpoint_files",
    "niceuser": "nice_user", "javavmargs": "java_vm_args", "remoteiwd": "remote_initialdir",
    "ec2elasticblockstoragevolumes": "ec2_ebs_volumes", "ec2paramnames": "ec2_parameter_names",
    "dagmannodeslog": "dagman_log", "jobvmcheckpoint": "vm_checkpoint",
    "jobvmnetworking": "vm_networking", "jobvmnetworkingtype": "vm_networking_type",
    "jobvmvncconsole": "vm_vnc", "vmparamxenkernelparams": "xen_kernel_params",
    "useoauthservices": "use_oauth_services", "nodecount": "machine_count",
}  # fmt: skip
"""Other spellings; most are the names of the job's attributes, which condor_submit takes, too."""

FAMILIES = (
    ("request_", "", ("How much of {name}, a resource of its own that the pool's slots must have, "
     "the job needs."), "request_<name>"),
    ("require_", "", "An expression that each {name} that the job gets must fulfil.", ""),
    ("ec2_tag_", "", "For EC2: the tag {name} of the instance.", "ec2_tag_<name>"),
    ("ec2_parameter_", "", "For EC2: the parameter {name} of the instance.",
     "ec2_parameter_<name>"),
    ("cloud_label_", "", "For Google's cloud: the label {name} of the instance.",
     "cloud_label_<name>"),
    ("", "_container_port", ("The port in the container at which {name}, one of "
     "container_service_names, listens."), "<service-name>_container_port"),
    ("remote_", "", "Sets {name} of the job that another schedd makes of this one.", ""),
    ("transform_body_", "", "The text of a transform of the job's ad.", ""),
)  # fmt: skip
"""Commands with a name in their name: how they begin and end, what they do, their anchor."""
