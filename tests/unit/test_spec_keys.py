"""The keys of a spec besides `sweep:`: what they come to, and where the caret of a mistake is."""

# ruff: noqa: E501 - a case and its message stand in one line each

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from osgbatch.errors import SpecErrors
from osgbatch.spec.document import parse_document
from osgbatch.spec.load import load_spec, spec_of
from osgbatch.spec.schema import SpecModel
from osgbatch.spec_model import Environment, Function, Gpus, Notify, Requirements, Spec

WHOLE = """\
name: all-keys
profile: ospool
command: python job.py {x}
sweep: {x: [1, 2.50], mem: [1, 2]}
files: job.py
libraries: mylib/
inputs: [a.h5, "b/{x}.csv", osdf:///ospool/ap40/data/alice/r.fa, "@list.txt", ./@odd, c: w/d]
related: {path: ../ref, as: related/}
outputs: [outputs/a, {path: "outputs/{x}.log", optional: true}]
environment_variables: {NAME: "run-{x}"}
resources: {cpus: {expr: "min(x, 4)"}, memory: {expr: "2 GB * mem"}, disk: 10 MB, time: 20 min}
gpus: {count: 2, min_memory: 8 GB, min_capability: 7.0}
requirements:
  os: [RHEL 9, el8, rhel9]
  arch: [x86_64, arm64]
  microarch: v3
  cvmfs: oasis.opensciencegrid.org
  sites: {avoid: [A, "B C"]}
  expr: 'HAS_X =?= true && (Foo >= "a(\\"b") && Bar != 3'
retries: {times: 1, on: [4, 3, 4]}
tasks_per_job: auto
max_running: 200
project: My-Project.x
tags: [spring, 2024.10]
notify: {email: me@x.org, when: error}
submit: {+JobDurationCategory: '"Long"', My.N: 3.0, rank: KFlops, +F: true, request_fpgas: 1}
"""


def load(text: str) -> Spec:
    return spec_of(Path("/home/alice/sweep.yaml"), parse_document(text.encode(), "sweep.yaml"))


def errors(text: str) -> SpecErrors:
    with pytest.raises(SpecErrors) as caught:
        load(text)
    return caught.value


def test_every_key_is_read() -> None:
    spec = load(WHOLE)
    assert [path.text for path in (*spec.files, *spec.libraries)] == ["job.py", "mylib/"]
    assert [
        (i.source.parts, i.target.parts if i.target else None, i.folder, i.is_list)
        for i in spec.inputs
    ] == [
        (("a.h5",), None, "inputs", False),
        (("b/", "x", ".csv"), None, "inputs", False),
        (("osdf:///ospool/ap40/data/alice/r.fa",), None, "inputs", False),
        (("list.txt",), None, "inputs", True),
        (("./@odd",), None, "inputs", False),
        (("c",), ("w/d",), "inputs", False),
        (("../ref",), ("./",), "related", False),
    ]
    assert [(e.resource, e.text) for e in spec.expressions] == [
        ("cpus", "min(x, 4)"), ("memory", "2 GB * mem"),
    ]  # fmt: skip
    assert (spec.resources.cpus, spec.resources.memory_mb, spec.resources.gpus) == (1, 1024, 2)
    assert spec.gpus == Gpus(8192, "7.0")
    assert spec.requirements == Requirements(
        os=("el9", "el8"),
        arch=("x86_64", "aarch64"),
        microarch="x86_64-v3",
        cvmfs=("oasis.opensciencegrid.org",),
        avoid_sites=("A", "B C"),
        expr='HAS_X =?= true && (Foo >= "a(\\"b") && Bar != 3',
    )
    assert spec.retries.codes == (3, 4)
    assert (spec.tasks_per_job, spec.max_running, spec.project) == (0, 200, "My-Project.x")
    assert spec.tags == ("spring", "2024.10")
    assert spec.notify == Notify("me@x.org", "error")
    assert spec.submit == (
        ("+JobDurationCategory", '"Long"'), ("My.N", "3.0"), ("rank", "KFlops"), ("+F", "true"),
        ("request_fpgas", "1"),
    )  # fmt: skip


def test_short_forms_are_read() -> None:
    spec = load(
        "function: pkg.job:run\ngpus: 1\nrequirements: HAS_X\nnotify: a@b.c\ntags: one\n"
        "retries: 5\nenvironment: none\noutputs: outputs/a\n"
    )
    assert spec.function is not None
    assert spec.function == Function("pkg.job", "run", spec.function.place)
    assert (spec.resources.gpus, spec.requirements.expr, spec.tags) == (1, "HAS_X", ("one",))
    assert spec.notify == Notify("a@b.c")
    assert (spec.retries.times, spec.retries.on) == (5, "infrastructure")
    assert [output.pattern.parts for output in spec.outputs] == [("outputs/a",)]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("environment.yml", "conda"), ("../e.yaml", "conda"), ("r.txt", "requirements"),
        ("r.in", "requirements"), ("a/pyproject.toml", "requirements"), ("uv.lock", "requirements"),
        ("pylock.toml", "requirements"), ("pylock.gpu.toml", "requirements"), ("i.sif", "container"),
        ("docker://python:3.12", "container"), ("osdf:///ospool/x/i.sif", "container"),
        ("i.def", "container"), ("/cvmfs/singularity.opensciencegrid.org/htc/rocky:9", "container"),
        ("e.tar.gz", "archive"), ("e.tgz", "archive"), (".venv", "prefix"),
        ("venv", "prefix"), ("env", "prefix"), ("my.env/", "prefix"), ("/home/alice/env", "prefix"),
    ],
)  # fmt: skip
def test_an_environment_is_known_by_its_name(written: str, kind: str) -> None:
    found = load(f"command: e\nenvironment: {written}\n").environment
    assert found.path is not None
    assert (found.kind, found.path.text, found.test, found.strip) == (kind, written, True, False)
    again = load(f"command: e\nenvironment: {{{kind}: {written}}}\n").environment
    assert again.path is not None
    assert (again.kind, again.path.text) == (kind, written)
    assert again.path.place.column == len(f"environment: {{{kind}: ") + 1


def test_how_an_environment_is_made_is_read() -> None:
    found = load(
        "command: e\n"
        "environment: {requirements: r, python: 3.10, imports: [a, b.c], strip: true, test: false}\n"
    ).environment
    assert (found.python, found.imports) == ("3.10", ("a", "b.c"))
    assert (found.strip, found.test) == (True, False)
    conda = load("command: e\nenvironment: {conda: e.yml, channels: [./c, bioconda]}\n").environment
    assert conda.channels == ("./c", "bioconda")
    assert load("command: e\nenvironment: none\n").environment == Environment()


@pytest.mark.parametrize(
    ("written", "message", "column", "fix"),
    [
        ("myenv", "environment: should name an environment, or be none", 14, "Write myenv/ for"),
        ("git://x/y", "environment: should name an environment, or be none", 14, "docker://"),
        (
            "{}",
            "environment: one of conda, requirements, prefix, archive, container is missing",
            14,
            "none",
        ),
        (
            "{prefix: a.tar.gz}",
            '"a.tar.gz" is no folder with an environment in it',
            23,
            "{archive: a.tar.gz}",
        ),
        (
            "{conda: myenv}",
            '"myenv" is not named like an environment file of conda',
            22,
            "{prefix: ENV",
        ),
        ("{container: r:4.1}", '"r:4.1" is not named like a container image', 26, "docker://r:4.1"),
        (
            "{archive: e.zip}",
            '"e.zip" is not named like an archive that is known here',
            24,
            "my-env.tar.gz",
        ),
        (
            "{requirements: e.yml}",
            '"e.yml" is not named like a requirements file',
            29,
            "{conda: e.yml}",
        ),
        (
            "{prefix: v/, conda: e.yml}",
            '"conda" beside "prefix": an environment is one of them',
            27,
            "Leave",
        ),
        (
            "{prefix: v/, python: 3.12}",
            '"python" means nothing beside "prefix"',
            27,
            "its Python already",
        ),
        (
            "{conda: e.yml, python: 3.12}",
            '"python" means nothing beside "conda"',
            29,
            "python=3.12",
        ),
        (
            "{prefix: v/, channels: c}",
            '"channels" means nothing beside "prefix"',
            27,
            "goes with conda",
        ),
        (
            "{container: i.sif, strip: true}",
            '"strip" means nothing beside "container"',
            33,
            "goes with",
        ),
        (
            "{requirements: r.txt, python: 3.12.1}",
            "environment.python: should be a version of Python, without its last part",
            44,
            '"3.12"',
        ),
    ],
)
def test_a_mistake_in_an_environment_is_shown(
    written: str, message: str, column: int, fix: str
) -> None:
    (error,) = errors(f"command: e\nenvironment: {written}\n").errors
    assert (error.what, error.place.line, error.place.column) == (message, 2, column)
    assert fix in error.fix


def test_an_environment_of_an_extended_file_starts_from_there(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    for written, meant in [
        ("venv", "../lab/venv"), (".venv", "../lab/.venv"), ("none", None),
        ("{conda: e.yml, channels: [./c, bioconda]}", "../lab/e.yml"),
        ("docker://a", "docker://a"), ("/opt/e/", "/opt/e/"), ("{prefix: e}", "../lab/e"),
    ]:  # fmt: skip
        (tmp_path / "lab/base.yaml").write_text(f"environment: {written}\n")
        (tmp_path / "here").mkdir(exist_ok=True)
        (tmp_path / "here/sweep.yaml").write_text("extends: ../lab/base.yaml\ncommand: e\n")
        found = load_spec(tmp_path / "here/sweep.yaml").environment
        assert (found.path.text if found.path else None) == meant
        if found.channels:
            assert found.channels == ("../lab/c", "bioconda")


def test_a_script_is_read() -> None:
    spec = load("script: |\n  echo {x}\n")
    assert spec.script is not None
    assert spec.script.names == ("x",)
    assert not spec.command


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("w/m.h5", "w/m.h5"), ("inputs/w/m.h5", "w/m.h5"), ("./inputs/m", "m"), ("w/", "w/"),
        ("inputs/", "./"), ("inputs", "./"), ("./", "./"), (".", "./"), ("related/m", "related/m"),
        ("inputsx/m", "inputsx/m"), ("5", "5"), ("2.50", "2.50"),
    ],
)  # fmt: skip
def test_a_target_is_relative_to_inputs_however_it_is_written(written: str, target: str) -> None:
    (one,) = load(f"command: echo\ninputs: [m.h5: {written}]\n").inputs
    assert one.target is not None
    assert one.target.parts == (target,)


@pytest.mark.parametrize(
    ("key", "written", "read"),
    [
        ("os", "EL 8", ("el8",)), ("os", "[RHEL7, el10]", ("el7", "el10")),
        ("arch", "X86-64", ("x86_64",)), ("arch", "amd64", ("x86_64",)),
        ("microarch", "x86-64-v2", "x86_64-v2"), ("microarch", "x86_64-v4", "x86_64-v4"),
    ],
)  # fmt: skip
def test_usual_names_are_understood(key: str, written: str, read: Any) -> None:
    assert (
        getattr(load(f"command: e\nrequirements: {{{key}: {written}}}").requirements, key) == read
    )


@pytest.mark.parametrize(
    "value",
    ["3", "-1.5e3", "true", "undefined", "my.X", "TARGET.X", "(X)", '"a b"', "$(x)", "a + b",
     "strcat(a, b)", "x is undefined", "{1, 2}", "a ?: b"],
)  # fmt: skip
def test_an_attribute_may_be_any_expression(value: str) -> None:
    quoted = value.replace("'", "''")
    assert load(f"command: e\nsubmit: {{+X: '{quoted}'}}\n").submit == (("+X", value),)


# Lines after `command: echo hello`; a mark under what the caret must show, the message and the fix.
CASES = r"""
script: echo
^^^^^^ "script" beside "command": a task runs one of them | Leave one of them out.
function: a:b
^^^^^^^^ "function" beside "command": a task runs one of them | Leave one of them out.
inputs: [a, {x}]
            ^^^ inputs[1]: without quotes, braces make a pair {source: target} | Write "{x}", in quotes, for the value of a column.
outputs: [a, {x}]
             ^^^ outputs[1]: should be text | Write "{x}", in quotes, for the value of a column.
environment_variables: {A: {x}}
                           ^^^ environment_variables.A: should be text or a number | Write "{x}", in quotes, for the value of a column.
inputs: ~/data
        ^^^^^^ "~" is not your home folder here | Write the whole path, or ./~ for its own sake.
submit: {+X: "{x}"}
             ^^^^^ +X: placeholders such as {x} are not known in submit | A submit command is the same for all jobs.
files: {a: b, c: d}
       ^^^^^^^^^^^^ files: should be one pair, {source: target} | Write a list: [{a: b}, {c: d}].
files:
      ^ files: has no value | Give it one, or leave the key out.
inputs: [{a: b, c: d}]
         ^^^^^^^^^^^^ inputs[0]: should be one pair, {source: target} | Write a list: [{a: b}, {c: d}].
inputs: {a: b, c: d}
        ^^^^^^^^^^^^ inputs: should be one pair, {source: target} | Write a list: [{a: b}, {c: d}].
inputs: [{a: [b]}]
         ^^^^^^^^ inputs[0]: the target should be a path in the task's folder | Write {a: weights/model.h5}, or the source alone.
inputs: [{path: a, shared: 5}]
                           ^ inputs[0].shared: should be true or false |
inputs: [{path: a, too: b}]
                   ^^^ unknown key "too" in inputs[0] | Known are path, as, shared, tree.
inputs: [{path_: a, as: b}]
          ^^^^^ unknown key "path_" in inputs[0]; did you mean "path"? |
inputs: [{as: b}]
         ^^^^^^^ inputs[0]: "path" is missing | Write {path: …}.
inputs: [b, 5]
            ^ inputs[1]: should be text | Put it in quotes.
inputs: [gs://b/x]
         ^^^^^^^^ unknown kind of URL "gs://" | Known are osdf://, http://, https://, s3://, file://, pelican://.
inputs: [htps://b/x]
         ^^^^^^^^^^ unknown kind of URL "htps://"; did you mean "https"? | Known are osdf://, http://, https://, s3://, file://, pelican://.
inputs: [stash:///a]
         ^^^^^^^^^^ unknown kind of URL "stash://"; did you mean "osdf"? | Known are osdf://, http://, https://, s3://, file://, pelican://.
inputs: ["http://b/a c"]
         ^^^^^^^^^^^^^^ a URL cannot hold ' ': HTCondor would not see it whole | Write %20 for it.
inputs: ["osdf://"]
         ^^^^^^^^^ "osdf://" names nothing | Write the whole URL.
inputs: ["@"]
         ^^^ @ should be followed by the name of a list | Write @list.txt.
inputs: [{path: "@l.txt", as: x}]
                              ^ a list is brought to a folder, and "x" is none | Write x/.
inputs: [{a: /b}]
             ^^ "/b": an input must lie in the task's own inputs/ | Write it relative to the task's folder, such as weights/model.h5.
related: [{a: x/../b}]
              ^^^^^^ "x/../b": an input must lie in the task's own related/ | Write it relative to the task's folder, such as weights/model.h5.
inputs: [{w/m.h5: osdf:///a/b}]
                  ^^^^^^^^^^^ a target is a path in the task's folder, not a URL | The source stands first: {source: target}.
inputs: ["a{"]
           ^ single "{" in a text with placeholders | Write "{{" for a brace, {name} for a column.
inputs: ["{a-b}.csv"]
          ^^^^^ no column can be called "a-b" | Write {{a-b}} for braces.
inputs: [{"{}": a}]
           ^^ no column between braces | Write {{}} for braces.
outputs: [a, {path: 5}]
                    ^ outputs[1].path: should be text | Put it in quotes.
outputs: [{path: a, optional: maybe}]
                              ^^^^^ outputs[0].optional: should be true or false |
environment_variables: {PATH: "/a/{x}:/bin"}
                                  ^^^ PATH should be the same for all tasks, and this one is not | Name the program by its path in the command instead.
environment_variables: {OSGBATCH_TASK: 1}
                        ^^^^^^^^^^^^^ "OSGBATCH_TASK" is taken by osgbatch; give the variable another name |
environment_variables: {A: [1]}
                           ^^^ environment_variables.A: should be text or a number |
resources: {cpus: 2.5}
                  ^^^ resources.cpus: should be a whole number |
resources: {cpus: {n}}
                  ^^^ resources.cpus: placeholders are not known here | Write {expr: "n"}.
resources: {cpus: "{n}"}
                  ^^^^^ resources.cpus: should be a whole number | Write {expr: "n"}.
resources: {memory: "{mem} GB"}
                    ^^^^^^^^^^ resources.memory: placeholders are not known here | Write {expr: "mem * 1 GB"}.
resources: {time: "{t}"}
                  ^^^^^ resources.time: placeholders are not known here | Write {expr: "t * 1 min"}.
resources: {memory: {expr: "2 GX * n"}}
                            ^^^^ resources.memory: "GX" cannot follow a number | Units are KB, MB, GB, TB, s, min, h and days.
resources: {disk: {exp: "2 GB"}}
                   ^^^ unknown key "exp" in resources.disk; did you mean "expr"? |
resources: {disk: {}}
                  ^^ resources.disk: "expr" is missing | Write {expr: "2 GB * n"}.
resources: {memory: {expr: 5}}
                           ^ resources.memory.expr: should be text | Put it in quotes.
gpus: 1.5
      ^^^ gpus: should be a whole number |
gpus: {count: 0, min_memory: 8 GB}
              ^ gpus.count is 0, so min_memory would mean nothing | Write count: 1, or leave gpus out.
gpus: {min_memory: 8}
                   ^ gpus.min_memory: a size needs a unit: write 8 GB or 8 MB |
gpus: {min_capability: sm_80}
                       ^^^^^ gpus.min_capability: should be a compute capability | Write a number such as 7.0 or 8.6.
gpus: {min_mem: 8 GB}
       ^^^^^^^ unknown key "min_mem" in gpus; did you mean "min_memory"? |
requirements: {os: ubuntu}
                   ^^^^^^ requirements.os: unknown operating system "ubuntu" | Known are el7, el8, el9 and el10.
requirements: {os: [el9, el11]}
                         ^^^^ requirements.os[1]: unknown operating system "el11" | Known are el7, el8, el9 and el10.
requirements: {os: 9}
                   ^ requirements.os: "9" is no operating system | Write el9.
requirements: {os: RHEL 9.4}
                   ^^^^^^^^ requirements.os: "RHEL 9.4" names a minor version | Write el9.
requirements: {arch: x86}
                     ^^^ requirements.arch: unknown architecture "x86"; did you mean "x86_64"? | Known are x86_64 and aarch64.
requirements: {microarch: avx2}
                          ^^^^ requirements.microarch: unknown CPU level "avx2" | Known are x86_64-v1, x86_64-v2, x86_64-v3 and x86_64-v4.
requirements: {cvmfs: /cvmfs/a.b.org/}
                      ^^^^^^^^^^^^^^^ requirements.cvmfs: "/cvmfs/a.b.org/" is no CVMFS repository | Write a.b.org.
requirements: {sites: {only: A, avoid: B}}
                                ^^^^^ sites: only and avoid exclude each other | Name the sites to use in only, without those to avoid.
requirements: {sites: {only: "A,B"}}
                             ^^^^^ requirements.sites.only: a site has no commas, quotes, backslashes or line breaks | Write [A,B].
requirements: {sites: {onyl: A}}
                       ^^^^ unknown key "onyl" in requirements.sites; did you mean "only"? |
requirements: OSGVO_OS_STRING == 'RHEL 9'
                                 ^^^^^^^^ single quotes name an attribute, not text | Write "RHEL 9".
requirements: {expr: "A == “b”"}
                           ^ “ is a curly quote, which HTCondor does not know | Write straight ones, ".
requirements: {expr: 'A == "b'}
                           ^ the quote is not closed | Close it with ".
requirements: {expr: (A && (B)}
                     ^ the bracket is not closed | Close it with ).
requirements: A && B)
                    ^ this bracket closes nothing | Leave it out.
requirements: A = 5
                ^ a single = compares nothing | Write ==.
requirements: Microarch >= x86_64-v3
                           ^^^^^^^^^ x86_64-v3 is taken for an attribute, or a sum | Write "x86_64-v3".
requirements: "a\nb"
              ^^^^^^ requirements: should be in one line | Write `>-` and not `|` to fold lines into one.
retries: often
         ^^^^^ retries: should be a whole number, or keys and values | Write `retries: 3`, or `retries: {times: 3, on: any}`.
retries: {on: [3, 0]}
                  ^ retries.on[1]: should be between 1 and 255 |
retries: {on: 3}
              ^ retries.on: should be "infrastructure", "any" or a list of exit codes | Write [3].
retries: {memory: x2}
                  ^^ retries.memory: "x2" does not say up to which size | Write `memory: x2 up to 16 GB`.
retries: {memory: x1 up to 4 GB}
                  ^^^^^^^^^^^^^ retries.memory: x1 is no factor between 1.1 and 100 | Write x2 to double.
retries: {memory: x2 up to 16}
                  ^^^^^^^^^^^ retries.memory: a size needs a unit: write 16 GB or 16 MB |
retries: {disk: []}
                ^^ retries.disk: is empty | Write `disk: [4 GB, 16 GB]`.
tasks_per_job: many
               ^^^^ tasks_per_job: should be a whole number, or "auto" |
max_running: 0
             ^ max_running: should be between 1 and 1000000 |
project: my project
         ^^^^^^^^^^ project: "my project" cannot name a project | Use letters, digits and . _ -
tags: [a, "b,c"]
          ^^^^^ tags[1]: a tag has no commas, quotes, backslashes or line breaks | Write [b,c].
tags: ['']
       ^^ tags[0]: is empty |
notify: me
        ^^ notify: "me" is no mail address | Write one address, such as me@example.org.
notify: {email: a@b.c, when: allways}
                             ^^^^^^^ notify.when: should be complete, error or always; did you mean "always"? |
notify: {when: error}
        ^^^^^^^^^^^^^ notify: "email" is missing | Write notify: me@example.org.
extends: [a, 5]
             ^ extends[1]: should be text | Put it in quotes.
gather: ''
        ^^ gather: is empty | Write `gather: gather.py`.
submit: {queue: 5}
         ^^^^^ "queue" is written by osgbatch itself | Write `sweep:`; osgbatch makes the jobs from it.
submit: {Request_Memory: 5}
         ^^^^^^^^^^^^^^ "Request_Memory" is written by osgbatch itself | Write `resources: {memory: 2 GB}`.
submit: {JobBatchName: a}
         ^^^^^^^^^^^^ "JobBatchName" is written by osgbatch itself | Write `name: find-peaks`.
submit: {transfer_plugins: a}
         ^^^^^^^^^^^^^^^^ "transfer_plugins" is written by osgbatch itself | Name what a task is brought in `files:`, `inputs:` or `libraries:`.
submit: {on_exit_hold: true}
         ^^^^^^^^^^^^ "on_exit_hold" is written by osgbatch itself | Write `retries: {times: 2, on: any}`.
submit: {My.ProjectName: '"x"'}
         ^^^^^^^^^^^^^^ "My.ProjectName" is written by osgbatch itself | Write `project: name`.
submit: {+OSGBatchID: '"x"'}
         ^^^^^^^^^^^ "+OSGBatchID" is written by osgbatch itself | osgbatch finds its jobs by it.
submit: {+a-b: 1}
         ^^^^ "+a-b" cannot name an attribute | Use letters, digits and _ after the +.
submit: {rnak: 1}
         ^^^^ "rnak" is no submit command; did you mean "rank"? |
submit: {request_memroy: 1}
         ^^^^^^^^^^^^^^ "request_memroy" is no submit command; did you mean "request_memory"? | Write `resources: {memory: 2 GB}`.
submit: {zzyzx: 1}
         ^^^^^ "zzyzx" is no submit command | An attribute of the job is written +zzyzx.
submit: {rank: 1, Rank: 2}
                  ^^^^ "Rank" is "rank" again | Leave one of them out.
submit: {rank: [1]}
               ^^^ submit.rank: a submit command should be text, a number, or true or false |
submit: {rank: }
               ^ submit.rank: a submit command should be text, a number, or true or false |
submit: {rank: ''}
               ^^ rank is empty | Give it a value, or leave it out.
submit: {rank: "a\nb"}
               ^^^^^^ rank: should be in one line | Write `>-` and not `|` to fold lines into one.
submit: {rank: a\}
               ^^ rank: a backslash at the end would join the next line to it | Leave it out.
submit: {+JobDurationCategory: Medium}
                               ^^^^^^ +JobDurationCategory: Medium without quotes names an attribute | Write '"Medium"' for text.
submit: {+JobDurationCategory: “Medium”}
                               ^^^^^^^^ +JobDurationCategory: “ is a curly quote, which HTCondor does not know | Write straight ones, ".
"""


def _cases() -> list[tuple[str, str]]:
    lines = CASES.strip("\n").split("\n")
    return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.parametrize(("line", "mark"), _cases())
def test_a_mistake_in_a_key_is_shown_where_it_is(line: str, mark: str) -> None:
    carets, _, said = mark.strip().partition(" ")
    message, _, fix = (part.strip() for part in said.partition("|"))
    if " | " in said:  # a message may hold the bar in its fix
        message, fix = said.split(" | ", 1)
    (error,) = errors(f"command: echo hello\n{line}\n").errors
    assert (error.what, error.fix) == (message, fix)
    column = len(mark) - len(mark.lstrip()) + 1
    assert (error.place.line, error.place.column, error.place.width) == (2, column, len(carets))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("job.py:run", "job:run"), ("job.run", "job:run"), ("lib/job.py:run", "lib.job:run"),
        ("job.py", "job:run"), ("job", "job:run"), ("a.b:run(x)", "a.b:run"),
        ("job:a.b", "module:name, such as analysis:run for the function run of analysis.py"),
        ("class:run", "module:name, such as analysis:run for the function run of analysis.py"),
    ],
)  # fmt: skip
def test_a_function_that_is_none_is_told_how_to_write_it(written: str, meant: str) -> None:
    (error,) = errors(f"function: {written}\n").errors
    assert (error.what, error.fix) == (
        "function: should be a module and a function in it", f"Write {meant}.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("script: 5", "script: should be text", 9),
        ("script: ''", "script: is empty", 9),
        ("script: '  '", "script: is empty", 9),
        ("function: [a]", "function: should be text", 11),
        ("function: a b", "function: should be a module and a function in it", 11),
        ("name: x", '"command" is missing', 1),
        ("command: e x {1}", 'no column can be called "1"', 14),
    ],
)
def test_a_mistake_in_what_a_task_runs_is_shown(text: str, message: str, column: int) -> None:
    (error,) = errors(text + "\n").errors
    assert (error.what, error.place.line, error.place.column) == (message, 1, column)


def test_gpus_in_two_places_is_an_error_at_the_second() -> None:
    (error,) = errors("command: e\ngpus: 1\nresources: {gpus: 1}\n").errors
    assert error.what == "how many GPUs is given twice, first in line 2"
    assert (error.place.line, error.place.column) == (3, 13)
    (error,) = errors("command: e\nresources: {gpus: 1}\ngpus: {min_memory: 1 GB}\n").errors
    assert (error.place.line, error.place.column) == (3, 1)


def test_mistakes_of_all_keys_are_told_at_once_and_in_order() -> None:
    text = (
        "inputs: [{a: 1, b: 2}, 5, gs://x/y, {path: a, asx: b}, 7, '{']\n"
        "outputs: [/etc, {path: a, optinal: 1}, ../b]\n"
        "resources: {cpus: x, memory: 1, disk: {expr: '1 +'}}\n"
        "gpus: {min_capability: seven}\n"
        "requirements: {os: beos, sites: {only: a, avoid: b}, expr: \"'a'\"}\n"
        "submit: {queue: 1, rank: [1], +A: b}\n"
        "zzz: 1\n"
    )
    lines = [1] * 7 + [2] * 3 + [3] * 3 + [4] + [5] * 3 + [6] * 3 + [7]
    found = [(error.place.line, error.place.column) for error in errors(text).errors]
    assert found == sorted(found)
    assert [line for line, _ in found] == lines


def test_a_mistake_does_not_bring_forth_another() -> None:
    """What the schema refuses is neither missing nor doubly wrong."""
    assert len(errors("command: [[1]]\n").errors) == 1
    assert len(errors("command: []\n").errors) == 1
    assert len(errors("command:\n").errors) == 1
    assert len(errors("command: e\ninputs: [{path: 5}, {path: [1]}]\n").errors) == 2
    assert len(errors("command: e\nnotify: {email: 5}\n").errors) == 1


def test_the_schema_describes_every_key() -> None:
    schema = SpecModel.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, described in model["properties"].items():
            assert described.get("description"), name
            assert described.get("default", 1) not in (None, "", 0)
    assert json.dumps(schema["properties"]["tasks_per_job"]["anyOf"]).count("auto") == 1
    assert "as" in schema["$defs"]["InputModel"]["properties"]


JUNK = """
null|1|1.5|true|a|'{x}'|'{'|[]|{}|[[]]|[{}]|[{a: b}]|{a: b}|{a: 1, b: 2}|{path: a}|{as: b}|{1: 2}
{expr: a}|{expr: 1}|[1, a, null, {path: a}, {path: [1]}]|{path: a, as: '{'}|'@'|'a\\0b'|1e999|{x}
{'[keys]': 1, '[value]': {a: 1}}|{count: {expr: '1+'}, min_memory: x}|{times: {}}|{email: {}}
{'': ''}|{os: {}, arch: 1, microarch: [], cvmfs: {a: 1}, sites: [1], expr: {}}|{requirements: {}}
{sites: {only: [1, {}], avoid: {}}}|{+: 1, My.: 2, +a: , b: {}}|{cpus: {}, memory: {a: }, disk: []}
"""


@pytest.mark.parametrize("key", [*SpecModel.model_fields, "zzz", "a[b]"])
def test_whatever_a_key_is_given_only_errors_of_the_spec_come_of_it(key: str) -> None:
    for junk in JUNK.strip().replace("\n", "|").split("|"):
        others = "" if key in ("command", "script", "function") else "command: e\n"
        try:
            load(f"{others}{key}: {junk}\n")
        except SpecErrors as error:
            assert all(place.line <= 2 for place in (e.place for e in error.errors)), junk


BEHIND_COMMANDS = [
    "+Cmd", "+Args", "+Arguments", "+In", "+Out", "+Err", "+TransferInput", "+TransferOutput",
    "+TransferOutputRemaps", "+UserLog", "+Iwd", "MY.Requirements", "my.requirements",
    "+RequestMemory", "+RequestCpus", "+RequestDisk", "+RequestGPUs", "+JobMaxRetries",
    "+OnExitRemove", "+OnExitHold", "+JobBatchName", "+JobUniverse", "+Environment", "+Env",
    "+AllowedExecuteDuration", "+JobMaterializeLimit", "+JobMaterializeMaxIdle", "+ContainerImage",
    "+SuccessCheckpointExitCode", "+GPUsMinMemory", "+RemoteIwd", "remote_initialdir", "input",
    "RequestMemory", "+OSGBatchTags", "+JobStatus", "+ShouldTransferFiles", "+JobNotification",
    "noop_job", "+IsNoopJob", "hold", "Hold", "skip_if_dataflow",
]  # fmt: skip


@pytest.mark.parametrize("key", BEHIND_COMMANDS)
def test_an_attribute_behind_a_command_is_refused_as_the_command_is(key: str) -> None:
    (error,) = errors(f"command: e\nsubmit: {{{key}: 1}}\n").errors
    assert key in error.what and "did you mean" not in error.what
    assert error.fix
    assert (error.place.line, error.place.column, error.place.width) == (2, 10, len(key))


def test_attributes_of_ones_own_and_of_the_pool_are_not_refused() -> None:
    keys = (
        "+JobDurationCategory", "+WantFlocking", "My.Size", "+DESIRED_Sites", "+SingularityImage",
        "request_fpgas", "rank", "periodic_remove", "next_job_start_delay", "concurrency_limits",
    )  # fmt: skip
    lines = "".join(f"  {key}: '1'\n" for key in keys)
    assert [key for key, _ in load(f"command: e\nsubmit:\n{lines}").submit] == list(keys)


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD", "DB_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
        "HF_TOKEN", "TOKEN", "GITHUB_TOKEN", "OPENAI_API_KEY", "api_key", "CLIENT_SECRET", "PASSWD",
        "SSH_PRIVATE_KEY", "MY_CREDENTIALS", "WANDB_API_KEY", "SECRET",
    ],
)  # fmt: skip
def test_a_variable_that_looks_like_a_secret_is_refused(name: str) -> None:
    text = f"command: e\nenvironment_variables: {{LEVEL: 1, {name}: hunter2}}\n"
    (error,) = errors(text).errors
    assert f'"{name}" looks like a secret' in error.what
    assert f"{name}: inputs/key.txt" in error.fix and "hunter2" not in f"{error.what}{error.fix}"
    assert (error.place.line, error.place.column) == (2, 35)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "false"), ("MAX_TOKENS", "512"), ("TOKEN_COUNT", "3"),
        ("PAD_TOKEN", "<pad>"), ("KEY", "a"), ("SORT_KEY", "a"), ("MONKEY", "m1"),
        ("HIGH_PASS", "300"), ("SECRETARY", "x"), ("PASSWORD_FILE", "inputs/pw"), ("TOKEN", "''"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "inputs/key.json"), ("USE_TOKEN", "true"),
    ],
)  # fmt: skip
def test_a_variable_that_is_no_secret_is_taken(name: str, value: str) -> None:
    spec = load(f"command: e\nenvironment_variables: {{{name}: {value}}}\n")
    assert [found for found, _ in spec.environment_variables] == [name]
