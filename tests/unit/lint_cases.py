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
    "queue-comment": (job("", "queue 3 # three\n"), job("# three", "queue 3\n")),
    "queue-count": (job("", "queue 3 jobs\n"), job("N = 3", "queue $(N) * 2\n")),
    "queue-unclosed": (
        job("arguments = $(x)", "queue x in (\na\nb)\n"),
        job("arguments = $(x)", "queue x in (\na\nb\n)\n"),
    ),
    "queue-more": (job("", "queue\n\nqueue\n"), job("", "queue 2\n")),
    "queue-behind": (job("", "queue\npriority = 3\n"), job("priority = 3", "queue\n# end\n")),
    "queue-none": (HEAD, job("")),
    "queue-zero": (job("", "queue 0\n"), job("", "queue 10\n")),
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
    "truth-value": (job("stream_output = maybe"), job("stream_output = True")),
    "size": (job("").replace("1GB", "1GiB"), job("image_size = 100 mb")),
    "quoted-number": (
        job("").replace("request_memory = 1GB", 'request_memory = "1GB"'),
        job("request_gpus = 1"),
    ),
    "curly-quotes": (job("+JobDurationCategory = “Medium”"), job('+ProjectName = "Medium"')),
    "arguments-quotes": (
        job('arguments = "say "hello""'),
        job('arguments = "say ""hello"" \'to you\'"'),
    ),
    "single-quotes": (job("arguments = 'two words'"), job("arguments = \"'two words'\"")),
    "environment-form": (job('environment = "A=1;B=2"'), job('environment = "A=1 B=2"')),
    "request-missing": (
        "executable = /bin/true\n" + STREAMS + "queue\n",
        "universe = local\nexecutable = /bin/true\n" + STREAMS + "queue\n",
    ),
    "disk-unit": (job("").replace("disk = 1GB", "disk = 1000"), job("")),
    "memory-unit": (job("").replace("memory = 1GB", "memory = 4"), job("")),
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
    "expression": (job('requirements = (OpSys == "LINUX"'), job('requirements = OpSys == "LINUX"')),
    "compared-word": (job("requirements = OpSys == LINUX"), job('requirements = Arch == "X86_64"')),
    "old-place": (
        job("transfer_input_files = stash:///osgconnect/public/alice/a.dat"),
        job("transfer_input_files = osdf:///ospool/ap40/data/alice/public/a.dat"),
    ),
    "stashcache": (job("+WantsStashCache = true"), job("+WantsCache = true")),
    "old-attribute": (
        job("requirements = HAS_MODULES =?= true"),
        job('requirements = Microarch >= "x86_64-v3"'),
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
    "sites-both": (
        job('+DESIRED_Sites = "A"\n+UNDESIRED_Sites = "B"'),
        job('+DESIRED_Sites = "A"'),
    ),
    "shell-variable": (
        job("transfer_input_files = $HOME/a.dat"),
        job("transfer_input_files = $ENV(HOME)/$(a:b)$$(Arch), $Fn(a:b)\narguments = $HOME"),
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
}
"""Rule → a file that breaks it, and one that does not, though it looks alike."""

FILES = {
    "good.txt": b"a\nb\n",
    "bad.txt": b"a\n\n# b\nc\r\n",
    "no-shebang.sh": b"echo hello\n",
    "right.sh": b"#!/bin/bash\necho module load is no command here\n",
    "modules.sh": b"#!/bin/bash\nmodule load python/3.7\n",
}
"""What lies beside these submit files."""
