"""For each rule of the linter a submit file that breaks it, and one that is right."""

from __future__ import annotations

REQUESTS = "request_cpus = 1\nrequest_memory = 1GB\nrequest_disk = 1GB\n"
STREAMS = "log = a_$(Cluster).log\noutput = a_$(Process).out\nerror = a_$(Process).err\n"
HEAD = "executable = /bin/true\n" + REQUESTS + STREAMS


def job(lines: str, queue: str = "queue\n") -> str:
    """A right submit file with some lines in it."""
    return HEAD + (lines + "\n" if lines else "") + queue


CASES: dict[str, tuple[str, str]] = {
    "bom": ("\ufeff" + job(""), job("# no mark \ufeff at the beginning")),
    "no-statement": (job("universe : vanilla"), job("# universe : vanilla")),
    "odd-blanks": (job("priority =\u00a03"), job("# a\u00a0comment")),
    "if-condition": (
        job("if $(x) == 1\npriority = 1\nendif"),
        job("if defined x\npriority = 1\nendif"),
    ),
    "if-unclosed": (job("if defined x\npriority = 1"), job("if defined x\npriority = 1\nendif")),
    "block-unclosed": (job("arguments @=end\na"), job("arguments @=end\na\n@end")),
    "crlf": (job("").replace("\n", "\r\n"), job("")),
    "continued-comment": (
        job("arguments = a \\\n b \\\n# c \\\n#  d, e"),
        job("# b \\\narguments = a \\\n# b \\\n c"),
    ),
    "queue-comment": (job("", "queue 3 # three\n"), job("# three", "queue 3\n")),
    "queue-count": (job("", "queue 3x\n"), job("N = 3", "queue $(N) * 2\n")),
    "queue-unclosed": (
        job("arguments = $(x)", "queue x in (\na\nb)\n"),
        job("arguments = $(x)", "queue x in (\na\nb\n)\n"),
    ),
    "queue-more": (job("", "queue\n\nqueue\n"), job("", "queue 2\n")),
    "queue-behind": (job("", "queue\npriority = 3\n"), job("priority = 3", "queue\n# end\n")),
    "queue-none": (HEAD, job("")),
    "queue-zero": (job("", "queue 0\n"), job("", "queue 10\n")),
    "image-docker": (
        job("container_image = team/tool:latest"),
        job("container_image = images/tool:1.sif"),
    ),
    "items-words": (
        job("arguments = $(x)", "queue x in 1..10\n"),
        job("arguments = $(x)", "queue x in (1-10 1..10)\n"),
    ),
    "items-slice": (
        job("arguments = $(x)", "queue x from [1, 2, 3]\n"),
        job("arguments = $(x)", "queue x from [1:] good.txt\n"),
    ),
    "queue-for": (
        job("arguments = $(x)", "queue for x in (1 2 3)\n"),
        job("arguments = $(for) $(x)", "queue for, x in (1 2 3)\n"),
    ),
    "items-none": (
        job("arguments = $(x)", "queue x from (\n  # a\n)\n"),
        job("arguments = $(x)", "queue x from (\n  # a\n  b\n)\n"),
    ),
    "items-missing": (
        job("arguments = $(x)", "queue x from not-there.txt\n"),
        job("arguments = $(x)", "queue x from good.txt\n"),
    ),
    "items-odd": (
        job("arguments = $(x)", "queue x from bad.txt\n"),
        job("arguments = $(x)", "queue x from good.txt\n"),
    ),
    "queue-unused": (
        job("", "queue name in (a b)\n"),
        job("arguments = $Fn(name)", "queue name in (a b)\n"),
    ),
    "macro-unset": (
        job("arguments = $(nane)\nname = a"),
        job("arguments = $(name) $(other:1)\nname = a"),
    ),
    "max-idle": (job("", "queue 20000\n"), job("max_idle = 2000", "queue 20000\n")),
    "unknown-command": (job("transfer_input_file = good.txt"), job("request_gpus = 1")),
    "resource-misspelt": (
        job("").replace("request_memory", "request_memroy"),
        job("request_licences = 1"),
    ),
    "unused-name": (job("colour = red"), job("colour = red\narguments = $(colour)\n+colour = 1")),
    "set-twice": (
        job("arguments = a\narguments = b"),
        job("arguments = a\narguments = $(arguments) b"),
    ),
    "value-comment": (job("priority = 3 # high"), job('+Tag = "a # b"\npriority = 3')),
    "name-comment": (job("batch_name = a # my batch"), job("batch_name = a#b")),
    "word": (job("should_transfer_files = MAYBE"), job("should_transfer_files = yes")),
    "whole-number": (job("priority = high"), job("priority = 3")),
    "truth-value": (job("hold = yes"), job("hold = TRUE\nstream_output = 1\nnoop_job = no")),
    "size": (job("").replace("1GB", "1GiB"), job("image_size = 100 mb")),
    "quoted-number": (
        job("").replace("request_memory = 1GB", 'request_memory = "1GB"'),
        job("request_gpus = 1"),
    ),
    "curly-quotes": (job("+JobDurationCategory = “Medium”"), job('+ProjectName = "Medium"')),
    "arguments-quotes": (
        job('arguments = -c "say hello"'),
        job('arguments = "say ""hello"" \'to you\'"'),
    ),
    "output-clash": (
        job("transfer_output_files = b.txt, out/a.out").replace("a_$(Process).out", "a.out"),
        job("transfer_output_files = b.txt, a.out"),
    ),
    "requirements-plus": (job("+Requirements = HasX"), job("requirements = HasX")),
    "pool-word": (
        job('+JobFlavour = "1nd"'),
        job('+JobFlavour = "Workday"\n+JobDurationCategory = "$(Long)"\n+GPUJobLength = ""'),
    ),
    "single-quotes": (job("arguments = 'two words'"), job("arguments = \"'two words'\"")),
    "environment-form": (job('environment = "A=1;B=2"'), job('environment = "A=1 B=2"')),
    "request-missing": (
        "executable = /bin/true\n" + STREAMS + "queue\n",
        "universe = local\nexecutable = /bin/true\n" + STREAMS + "queue\n",
    ),
    "disk-unit": (job("").replace("disk = 1GB", "disk = 1000"), job("")),
    "memory-unit": (
        job("").replace("memory = 1GB", "memory = 4"),
        job("").replace("memory = 1GB", "memory = 2048"),
    ),
    "request-word": (
        job("").replace("request_memory = 1GB", "mem = 4GB\nrequest_memory = mem"),
        job("+Cores = 2").replace("cpus = 1", "cpus = Cores"),
    ),
    "request-large": (job("").replace("cpus = 1", "cpus = 128"), job("")),
    "gpus-none": (
        job("gpus_minimum_memory = 8GB"),
        job("request_gpus = 1\ngpus_minimum_memory = 8GB"),
    ),
    "memory-steps": (
        job("retry_request_memory = 8GB, 4GB"),
        job("retry_request_memory = 4GB, 8GB"),
    ),
    "no-log": (job("").replace("log = a_$(Cluster).log\n", ""), job("")),
    "log-each": (
        job("", "queue 5\n").replace("$(Cluster).log", "$(Cluster)_$(Process).log"),
        job("", "queue 1\n").replace("$(Cluster).log", "$(Process).log"),
    ),
    "output-shared": (
        job("", "queue 5\n").replace("output = a_$(Process).out", "output = a.out"),
        job("", "queue 1\n").replace("output = a_$(Process).out", "output = a.out"),
    ),
    "output-none": ("executable = /bin/true\nlog = a.log\n" + REQUESTS + "queue\n", job("")),
    "mail": (job("notification = Always", "queue 100\n"), job("notification = Error")),
    "getenv": (job("getenv = True"), job("getenv = HOME, PATH")),
    "release-forever": (
        job("periodic_release = True"),
        job("periodic_release = (NumJobStarts < 3) && (time() - EnteredCurrentStatus > 600)"),
    ),
    "current-time": (
        job("periodic_remove = CurrentTime - EnteredCurrentStatus > 60"),
        job("periodic_remove = time() - EnteredCurrentStatus > 60"),
    ),
    "retries-default": (
        job("success_exit_code = 3"),
        job("success_exit_code = 3\nmax_retries = 0"),
    ),
    "on-success": (
        job("when_to_transfer_output = ON_SUCCESS"),
        job("when_to_transfer_output = ON_SUCCESS\nsuccess_exit_code = 0\nmax_retries = 1"),
    ),
    "hold-factory": (job("hold = true\nmax_idle = 10"), job("hold = true")),
    "secret": (
        job('environment = "API_TOKEN=abcdef123456"'),
        job('environment = "API_TOKEN=$ENV(API_TOKEN) TOKEN_FILE=/home/a/token"'),
    ),
    "text-quotes": (job("+ProjectName = Chemistry"), job("+IsTest = true\n+Size = RequestMemory")),
    "expression": (job('+Sites = ""KSU""'), job('requirements = OpSys == "LINUX"')),
    "environment-entry": (
        job("environment = A=1;B"),
        job("environment = \"A=1 B='b c' 'C=d e'\""),
    ),
    "dollar-dollar": (
        job("requirements = $$(y) == 1"),
        job('requirements = Machine != "$$(Machine)"\narguments = $$(Cpus)'),
    ),
    "universe-needs": (job("universe = container"), job("universe = docker\ndocker_image = a")),
    "executable-none": (job("").partition("\n")[2], job("").replace("executable", "shell")),
    "compared-word": (
        job("requirements = OpSys == LINUX"),
        job('requirements = Arch == "X86_64" && Machine =!= LastRemoteHost'),
    ),
    "old-place": (
        job("transfer_input_files = stash:///osgconnect/public/alice/a.dat"),
        job("transfer_input_files = osdf:///ospool/ap40/data/alice/public/a.dat"),
    ),
    "stashcache": (job("+WantsStashCache = true"), job("+WantsCache = true")),
    "old-attribute": (
        job("requirements = HAS_MODULES =?= true"),
        job('requirements = Microarch >= "x86_64-v3"'),
    ),
    "ospool-offers": (
        job("universe = docker\ndocker_image = a/b"),
        job("universe = container\ncontainer_image = docker://a/b"),
    ),
    "has-singularity": (
        job("container_image = docker://a/b\nrequirements = HAS_SINGULARITY == true"),
        job("requirements = HAS_SINGULARITY == true"),
    ),
    "old-image": (job('+SingularityImage = "a.sif"'), job("container_image = a.sif")),
    "image-quotes": (job('container_image = "a.sif"'), job("container_image = a.sif")),
    "image-twice": (
        job("container_image = a.sif\ntransfer_input_files = a.sif"),
        job("container_image = a.sif\ntransfer_input_files = good.txt"),
    ),
    "osdf-path": (
        job("transfer_input_files = /ospool/ap40/data/alice/a.dat"),
        job("transfer_input_files = osdf:///ospool/ap40/data/alice/a.dat"),
    ),
    "osdf-stream": (
        job("").replace("log = a", "log = /ospool/ap40/data/alice/a"),
        job("").replace("log = a", "log = /home/alice/a"),
    ),
    "osdf-output": (
        job('transfer_output_remaps = "a = osdf:///ospool/ap40/data/alice/a"'),
        job('transfer_output_remaps = "a = osdf:///ospool/ap40/data/alice/$(Cluster)_$(Process)"'),
    ),
    "sites-both": (
        job('+DESIRED_Sites = "A"\n+UNDESIRED_Sites = "B"'),
        job('+DESIRED_Sites = "A"'),
    ),
    "shell-variable": (
        job("transfer_input_files = $HOME/a.dat"),
        job("transfer_input_files = $ENV(HOME)/$(a:b)$$(Arch), $Fn(a:b)\narguments = -c 'a $B'"),
    ),
    "input-pattern": (job("transfer_input_files = *.dat"), job('transfer_output_remaps = "a = b"')),
    "input-separator": (
        job("transfer_input_files = a.dat b.dat"),
        job("transfer_input_files = good.txt, $(a:b)"),
    ),
    "input-missing": (
        job("transfer_input_files = good.txt, not-there.txt"),
        job("transfer_input_files = good.txt, /other/machine/a.txt, osdf:///ospool/x"),
    ),
    "input-same-name": (
        job("transfer_input_files = a/x.dat, b/x.dat"),
        job("transfer_input_files = a/x.dat, b/x.dat\npreserve_relative_paths = true"),
    ),
    "executable-missing": (
        job("").replace("/bin/true", "not-there.sh"),
        job("transfer_executable = false").replace("/bin/true", "not-there.sh"),
    ),
    "executable-script": (
        job("").replace("/bin/true", "no-shebang.sh"),
        job("").replace("/bin/true", "right.sh"),
    ),
    "script-modules": (
        job("").replace("/bin/true", "modules.sh"),
        job("").replace("/bin/true", "right.sh"),
    ),
    "folder-missing": (
        job("").replace("output = a", "output = no/folder/a"),
        job("initialdir = folder"),
    ),
    "transfer-off": (
        job("should_transfer_files = NO\ntransfer_input_files = good.txt"),
        job("should_transfer_files = YES\ntransfer_input_files = good.txt"),
    ),
    "on-evict": (
        job("when_to_transfer_output = ON_EXIT_OR_EVICT"),
        job("when_to_transfer_output = ON_EXIT"),
    ),
    "output-places": (
        job("output_destination = https://a/b\noutput_directory = c"),
        job("output_directory = c"),
    ),
    "log-shared": (
        job("").replace("output = a_$(Process).out", "output = ./a_$(Cluster).log"),
        job("").replace("output = a_$(Process).out", "output = b/a_$(Cluster).log"),
    ),
    "opsys": (
        job('requirements = OpSys == "Ubuntu16"'),
        job('requirements = TARGET.OpSys == "linux" && Arch =!= "INTEL" && OpSysName == "Debian"'),
    ),
    "opsys-old": (
        job('requirements = (OpSysAndVer =?= "CentOS7")'),
        job('requirements = OpSysAndVer == "AlmaLinux9" && OpSysMajorVer > 7'),
    ),
    "requirements-amounts": (
        job('requirements = Memory >= 199 && Arch == "X86_64"'),
        job("requirements = TARGET.Memory > RequestMemory && TotalMemory > 9999"),
    ),
    "requirements-gpu": (
        job("request_gpus = 1\nrequirements = (CUDAGlobalMemoryMb >= 7000)"),
        job("request_gpus = 1\ngpus_minimum_memory = 7GB\nrequirements = GPUs >= 1"),
    ),
    "grid-type": (
        job("universe = grid\ngrid_resource = gt2 a.example.org"),
        job("universe = grid\ngrid_resource = Batch slurm"),
    ),
    "signal": (job("kill_sig = USR1"), job("kill_sig = SIGUSR1\nremove_kill_sig = 15")),
    "group-blanks": (job("accounting_group = my group"), job("accounting_group = a.b,c")),
    "limits-quotes": (job('concurrency_limits = "a"'), job("concurrency_limits = a:20, b")),
    "proxy-flag": (
        job("use_x509userproxy = $ENV(X509_USER_PROXY)"),
        job("use_x509userproxy = true"),
    ),
    "proxy-missing": (
        job("x509userproxy = proxy.pem"),
        job("x509userproxy = $ENV(X509_USER_PROXY)"),
    ),
    "shell-command": (
        job("N = $(wc -l < items.txt)", "queue $(N)\n"),
        job("N = $(M:3)\narguments = `date`", "queue $(N)\n"),
    ),
    "name-quotes": (
        job("").replace("executable = /bin/true", 'executable = "/bin/true"'),
        job('batch_name = "a b"\ntransfer_output_files = ""\ntransfer_input_files = "good.txt"'),
    ),
    "remaps-quotes": (
        job("transfer_output_remaps = a=b;c=d"),
        job('transfer_output_remaps = "a=b;c=d"'),
    ),
    "sum-text": (
        job("number = $(Process) + 1\narguments = $(number)"),
        job("number = $(Process) + 1\narguments = $INT(number) $(Cluster)-1 1*2"),
    ),
    "double-equals": (job("priority == 3"), job("priority = 3\narguments = a=='b'")),
}
"""Rule → a file that breaks it, and one that does not, though it looks alike."""

REFUSED = {
    "environment = =1": "environment-entry",
    'environment = "A = 1"': "environment-entry",
    "environment = \"A='b c' B\"": "environment-entry",
    "stream_output = yes": "truth-value",
    'manifest = "true"': "truth-value",
    "priority = 3x": "whole-number",
    "core_size = unlimited": "whole-number",
    "+Foo = $$(X)": "dollar-dollar",
    "periodic_remove = $$([1 + 1]) == 2": "dollar-dollar",
    "universe = docker\ncontainer_image = docker://a": "universe-needs",
    "universe = parallel": "universe-needs",
    "universe = grid": "universe-needs",
    "universe = container\ncontainer_image =": "universe-needs",
    "\u00a0": "no-statement",
    "image_size = 200 Meg": "size",
    "should_transfer_files = 1": "word",
    "queue 10K": "queue-count",
    "queue 2x3": "queue-count",
    'queue "3"': "queue-count",
    "queue x in": "queue-count",
    "max_idle = 5\nqueue\nqueue": "queue-more",
    "kill_sig = 99": "signal",
    "remove_kill_sig = SIGFOO": "signal",
    "accounting_group_user = a b": "group-blanks",
    "universe = grid\ngrid_resource = amazon": "grid-type",
    "universe = grid\ngrid_resource = slurm": "grid-type",
    "universe = 14": "word",
    "universe = 1": "word",
    "universe = 11": "universe-needs",
    "use_x509userproxy = /tmp/x": "proxy-flag",
    'concurrency_limits = "x"': "limits-quotes",
    'queue arguments from (\na "b"\n)': "arguments-quotes",
    "queue environment from (\nA\n)": "environment-entry",
    'arguments = "say "hello""': "arguments-quotes",
}
"""Lines that condor_submit 25.14.1 and 23.9.6 refuse (-dry-run), with the rule that says so."""

REFUSED_BY_BINDINGS = {
    'requirements = (OpSys == "LINUX"': "expression",
    'requirements = (OpSys == "LINUX") \\\n# && (HasX)': "expression",
    "queue 3 +": "queue-count",
    "queue 2 * x in (a)": "queue-count",
    "queue 9999999999": "queue-count",
    "job_lease_duration = 1h": "expression",
    "next_job_start_delay = 2s": "expression",
    "image_size = 10 000 MB": "size",
    "image_size = 2GB * 2": "size",
}
"""Lines of which only HTCondor's own parser knows that they are refused."""

FORM = 'Write arguments = "first \'two words\' third", with "" for a quote.'
ADVISED = {
    '+SingularityImage = "a.sif"\ntransfer_input_files = a.sif, $(Process).txt': (
        "Write container_image = a.sif, no quotes, and leave it out of transfer_input_files."
    ),
    '+SingularityImage = "osdf:///ospool/ap40/data/x/a.sif"\n'
    "transfer_input_files = osdf:///ospool/ap40/data/x/a.sif": (
        "Leave it out here: +SingularityImage is enough."
    ),
    '+SingularityImage = "/cvmfs/a.org/b"': "Write container_image = /cvmfs/a.org/b, no quotes.",
    '+SingularityImage = "/storage/a.sif"': "Write container_image = /storage/a.sif, no quotes; "
    "with transfer_container = false, if the execution points see that path.",
    '+SingularityImage = "shub://a/b"': "container_image takes no shub://: make a .sif file of the "
    "image, and write container_image = NAME.sif.",
    "arguments = $(x)\nqueue x from seq 0 99": "Write from seq 0 99 |: what a program prints is "
    "read with a | at the end.",
    "arguments = -x='1,2' b": "Leave them out, if a shell was to take them off.",
    "transfer_output_files = a.txt $(Process)/b.txt": "Write commas between.",
    "requirements = A\nMY.Requirements = B": "Join it to requirements by &&.",
    "TransferFiles = ALWAYS": "Write should_transfer_files.",
    "priority = @PRIO@": "@PRIO@ looks like a template's: lint the file that is made of it.",
    "$REQUIREMENTS": "Lint the file that is made of the template.",
    "arguments = a \\\n# b, c": "Leave out the \\ at the end of line 8.",
    "initialdir = ~": "Write $ENV(HOME) instead of ~.",
    "input = not-there.txt": "Bring it there before the jobs start, or correct the name.",
    "request_gpus = 0\ngpus_minimum_memory = 8GB": "Write request_gpus = 1, or leave this out.",
    "request_gpus = 0\nrequirements = CUDACapability >= 8.0": (
        "Leave it out, or write gpus_minimum_capability = 8.0, with request_gpus = 1."
    ),
    "should_transfer_files = NO": "Write should_transfer_files = YES, and name in "
    "transfer_input_files what the job reads.",
    'requirements = OpSys == "WINNT51"': 'Write OpSys == "WINDOWS".',
    'requirements = OpSys == "WINDOWS"': "Build the program for Linux, and leave this out.",
    "executable = /usr/bin/no-such\nuniverse = local": "Correct the name: such a job runs on the "
    "access point itself.",
    "arguments = $(name) $(nam)\nqueue name in (a b)": "Write $(name), if that was meant.",
    "log = runs/$(Process)/a.log\nqueue 2": "Write runs/a_$(Cluster).log.",
    "plus = $(Process) + 1\nnew = $INT(plus)\nlog = a$(new).log\narguments = $(new)\nqueue 3": (
        "Write a$(Cluster).log."
    ),
    "executable = /usr/bin/not-there": "Add transfer_executable = false, if it is a program of "
    "the execution point.",
    'universe = docker\ndocker_image = "a/b"': "Write universe = container, and container_image = "
    "docker://a/b.",
    "arguments = $(x) $(y)\nqueue x, y from (\na b\n\nc d\n)": (
        "Take it out: its job has no values, or those of the line before."
    ),
    "n = $(Process) + 100\narguments = --run $(n)": "Write $INT(n) instead of $(n).",
    "arguments = $(Process)+1": "Write number = $(Process)+1 on a line above, and $INT(number) "
    "here.",
    'TARGET.Site == "A"': 'Put it into the requirements: requirements = TARGET.Site == "A".',
    "log = a/x_$(b)_y$(c)_$(d).log\narguments = $(b)$(c)$(d)\n"
    "queue b, c, d from (\n1 2 3\n4 5 6\n)": "Write a/x_$(Cluster).log.",
    "when_to_transfer_output = ON_EXIT_OR_EVICT\ncheckpoint_exit_code = 85": (
        "Write ON_EXIT: the checkpoints are kept all the same."
    ),
    "requirements = CUDACapability == 7.5 && 11.1 <= TARGET.CUDADriverVersion": (
        "Write gpus_minimum_capability = 7.5, gpus_maximum_capability = 7.5, and "
        "gpus_minimum_runtime = 11.1, with request_gpus = 1."
    ),
    "queue name, value from heads.csv": "Take that line out, or write from [1:] heads.csv.",
    "arguments = $SLURM_ARRAY_TASK_ID": "Write $(Process): 0, 1, 2, ... for the jobs of a queue.",
    "walltime = 3600": "Write allowed_execute_duration.",
    "output = a.out\nerror = a.err\nqueue 2": "Write a_$(Process).out, and a_$(Process).err.",
    "log = a.$(Process).log\nqueue 2": "Write a.$(Cluster).log.",
    "queue: 10": "Write queue 10.",
    "executable = python a.py": "Write executable = a.py, with #!/usr/bin/env python3 in its first "
    "line.",
    "request_disk = 2097152": "Write the unit: 2GB.",
    "image_size = ${MEM}": "Write $(MEM): no shell fills ${MEM} in.",
    'arguments = -c "a b"': "Write arguments = \"-c 'a b'\".",
    'q = it\'s\narguments = -x "a b" $(q) c': FORM,
    'arguments = -x "a b" $(q)\nqueue q in (a b)': FORM,
    "q = it's\narguments = -x 'a b' $(q)": FORM,
    'n = 3\narguments = $(n) $(Process) "a b"': "Write arguments = \"$(n) $(Process) 'a b'\".",
    "arguments = $(i)\nqueue i in range(10)": (
        "Write `queue 10`, and $(Process) for $(i): 0, 1, 2, ...; or list the values: "
        "`queue i in (1 2 3)`."
    ),
    "arguments = $(i)\nqueue i in ['a', 'b']": "Write queue i in (a b).",
    "arguments = $(i)\nqueue i in [1, 2, 3]": "Write queue i in (1 2 3).",
    "arguments = $(i)\nqueue for i in (1 2 3)": "Leave out `for`: queue i in (1 2 3)",
    "request_disk = 1,000MB": "Write 1000MB.",
    "request_disk = 2,5GB": "Write 2.5GB.",
    "+ProjectName = My Project": 'Write "My Project".',
    "+MaxRuntime = 2h": "Write 7200.",
    "transfer_files = ALWAYS": "Write should_transfer_files.",
    "request memory = 4 GB": "Write request_memory = 4 GB.",
    "initialdir = run$(Process)\nqueue 2": "Run mkdir -p run0, and the one of each other job.",
    "arguments = $(f)\nqueue f matching files (data/*.root)": (
        "No job is queued then: make the files before you submit, or correct the pattern."
    ),
    "universe = {u}": "{u} looks like a template's: lint the file that is made of it.",
    "cpus-per-task = 4": "Write request_cpus = 4.",
    'JobFlavour = "workday"': "Write +JobFlavour.",
    "retries = 3": "Write max_retries.",
    "arguments = $(HOME)/a": "Write $ENV(HOME) for the variable of your shell.",
    "n = 3\narguments = ($n)": "Write $(n).",
    "initialdir = /stash/user/alice": "Write a path in your home folder.",
    "log = $(Process).$(Cluster).log\nqueue 2": "Write $(Cluster).log.",
    "log = logs/$(x).log\narguments = $(x)\nqueue x in (a b)": "Write logs/$(Cluster).log.",
    "output = a.out\nerror = a.out\nqueue 2": "Write a_$(Process).out.",
    "output = out/a\nerror = err/a": "Run mkdir -p out err.",
    "periodic_release = (HoldReasonCode =!= 1) && (time() - EnteredCurrentStatus > 60)": (
        "Write periodic_release = (NumJobStarts < 3) && (time() - EnteredCurrentStatus > 600)."
    ),
    'requirements = CUDADeviceName == "A100" && CUDACapability >= 7.5': (
        'Write gpus_minimum_capability = 7.5, and require_gpus = DeviceName == "A100", with '
        "request_gpus = 1."
    ),
}
"""Lines, and what is advised."""

NOTHING_SAID = (
    "if defined model\narguments = $(model)\nendif",
    "request_memory = 2048\nrequest_memory = 2048",
    "arguments = $(a) $(b) $(JOB)", "universe = local\ngetenv = True",
    "if version >= 23.0\ncontainer_image = a.sif\nelse\n+SingularityImage = \"a.sif\"\nendif",
    "universe = container\ndocker_image = \"a/b\"", "universe = java\narguments = A",
    'requirements = (OpSys == "WINDOWS" || OpSys == "WINNT61")', "KillSig = SIGTERM",
    "n = $(Process) + 1\narguments = $INT(n) $INT(n,%03d) a-$(Process)-1",
    "arguments = $(x)\nqueue x in (\na\n\nb\n)",
    "log = new/a_$(Cluster).log\noutput = new/a_$(Process).out",
    "arguments = $(f)\nqueue f matching files (*.txt)", "initialdir = $(d)\nqueue d in (folder)",
    "executable = C:\\\\Windows\\\\cmd.exe", "request_gpus = 0", "input = good.txt",
    "arguments = a \\\n# b \\\n c", "arguments = a \\\n\n# b", "initialdir = folder",
    "input = not-there.txt\ntransfer_input = false", "input = /dev/null",
    "transfer_output_files = My Results, b.txt", "transfer_input_files = @A_FILE@",
)  # fmt: skip
"""Lines of which nothing is said, but that they repeat what stands above."""

TAKEN = (
    "environment = A=1;;B=2", "environment = A=1 B", "environment = ;", 'environment = ""',
    "environment = A = 1", "environment = A=1|B", "hold = 1", "nice_user = 1+1",
    "transfer_executable = yes", "noop_job = yes", "leave_in_queue = yes", "max_retries =",
    "priority = 1.5", "priority = +5", "max_retries = 1+1", "image_size = 1.5GB",
    "image_size = .5GB", "image_size = 2 Gb", "queue 3.5", "queue 1e3", "queue (3)", "queue +3",
    "queue 3x in (a b)", "queue x, y in (a b)", "N =\nqueue $(N)", "queue x in a, b",
    "universe = container\ndocker_image = a", "universe = 5", "require_gpus = (Capability >= 8",
    "universe = java\narguments = A", "retry_until = 3", "deferral_time = (CurrentTime + 60)",
    "kill_sig = 9x", "kill_sig = sigterm", "kill_sig =", "accounting_group = \"a\"",
    "universe = grid\ngrid_resource = blah pbs", "grid_resource = amazon",
    "concurrency_limits = a b",
    "use_x509userproxy = $ENV(NOPE)", "queue arguments from (\na 'b'\n)", "queue 0",
    "transfer_output_remaps = a=b", "output = \"a.out\"",
)  # fmt: skip
"""Lines that condor_submit 25.14.1 and 23.9.6 take."""

FILES = {
    "good.txt": b"a\nb\n",
    "bad.txt": b"a\n\n# b\nc\r\n",
    "no-shebang.sh": b"echo hello\n",
    "heads.csv": b"name,value\na,1\n",
    "right.sh": b"#!/bin/bash\necho module load is no command here\n",
    "modules.sh": b"#!/bin/bash\nmodule load python/3.7\n",
}
"""What lies beside these submit files."""
