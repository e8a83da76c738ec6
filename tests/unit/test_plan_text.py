"""What `osgbatch plan` prints and warns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from textwrap import dedent
from typing import NoReturn

import pytest

from osgbatch.cli.plans import plan_text
from osgbatch.plan_model import Plan
from osgbatch.planning.advice import Advice, advise
from osgbatch.planning.plan import make_plan
from osgbatch.planning.summary import core_hours, plan_data
from osgbatch.planning.table_notes import table_notes
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import Place, Profile, ResourceExpression, Resources, Spec, Template
from osgbatch.submit_language import duration_category
from osgbatch.sweep.expand import expand
from osgbatch.tables import Cell, Column, Table

GB = 1024**3
HOUR = 3600
DEFAULTS = Resources()
OSPOOL = Profile(name="ospool", longest_s=20 * HOUR, home="/home", glideins=True)


def made(folder: Path, text: str, **files: str) -> Plan:
    """The plan of a sweep.yaml with these files beside it."""
    for name, content in {"sweep.yaml": dedent(text), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    spec = load_spec(folder / "sweep.yaml")
    return make_plan(spec, expand(spec))


SWEEP = """\
name: scan
command: [sh, run.sh, "{mass}", "{file}"]
sweep:
  mass: {linspace: [0, 1, 30]}
  file: {files: data/*.txt}
files: [run.sh]
outputs: [outputs/x.npy, {path: "outputs/{mass}.log", optional: true}]
resources: {cpus: 2, memory: 1 GB, disk: 1 GB, time: 20 min}
tasks_per_job: auto
"""


def test_the_whole_page_at_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"run.sh": "true\n" * 400, "data/a.txt": "x" * 2048, "data/b.txt": "x" * 1024}
    plan = made(tmp_path, SWEEP, **files)
    monkeypatch.chdir(tmp_path)
    page = plan_text(replace(plan, warnings=("mind " + "the gap " * 12,)), None, 80)
    assert page == dedent(
        """\
        sweep        scan, from sweep.yaml
        tasks        60 = 30 mass x 2 file
        jobs         60 tasks; 1 h / 20 min = 3 tasks per job
                     20 jobs of 3 tasks
        rows         task  mass                  file
                     0     0.0                   inputs/data/a.txt
                     1     0.0                   inputs/data/b.txt
                     2     0.034482758620689655  inputs/data/a.txt
                     ...
                     59    1.0                   inputs/data/b.txt
        task 0 runs  sh run.sh 0.0 inputs/data/a.txt
        task 0 gets  inputs/data/a.txt from data/a.txt

        environment  none: what the execution point has
        files        run.sh (1 file, 2 KB)
        inputs       3 KB of different files
        to a job     at most 5 KB, 99.1 KB for 20 jobs
        comes back   outputs/x.npy, outputs/{mass}.log (optional)
                     of task 0: outputs/0.0.log

        each job     2 cpus, 1 GB memory, 3 GB disk
        time         at most 1 h for a job, 20 min for a task
        core hours   at most 40
        profile      generic (inputs up to 500 MB for a job, max_idle above 10,000 jobs)

        warning      mind the gap the gap the gap the gap the gap the gap the gap the
                     gap the gap the gap the gap the gap"""
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int) -> None:
    columns = "".join(f"  column_{n}: [{'v' * (3 * n + 1)}]\n" for n in range(20))
    text = (
        f"command: echo {'word ' * 300}\nsweep:\n{columns}  n: {{range: 50}}\n"
        "resources: {time: 1 min}\nrequirements: {os: [el8, el9], sites: {avoid: [A, B]}}\n"
        "tasks_per_job: auto\n"
    )
    page = plan_text(made(tmp_path, text), 12345, width)
    assert max(map(len, page.splitlines())) <= width
    assert " more)" in page
    assert "... (1,504 characters in all)" in page


def test_a_terminal_is_never_given_a_users_escape_sequences(tmp_path: Path) -> None:
    text = 'command: [echo, "a\\e[2Jb", "{x}"]\nsweep: {x: ["\\e]0;title\\a"]}\n'
    page = plan_text(made(tmp_path, text), None, 80)
    assert "\x1b" not in page
    assert "\\x1b[2J" in page


def test_a_script_is_shown_as_it_is_with_its_first_lines(tmp_path: Path) -> None:
    lines = "".join(f"  echo {n}\n" for n in range(9))
    page = plan_text(made(tmp_path, f"script: |\n  cd {{d}}\n{lines}sweep: {{d: [x]}}\n"), None, 80)
    assert "task 0 runs  bash -eo pipefail, of the script\n             cd {d}\n" in page
    assert "             ... (10 lines in all)" in page


def test_a_function_is_shown_as_the_call_that_is_made(tmp_path: Path) -> None:
    text = "function: sim:main\nsweep: {n: [3], name: [ab]}\nfiles: [sim.py]\n"
    plan = made(tmp_path, text, **{"sim.py": "def main(**row): ...\n"})
    assert "task 0 runs  sim:main(n=3, name='ab')" in plan_text(plan, None, 80)
    assert plan_data(plan)["program"] == "function"


def test_what_differs_between_jobs_is_told_with_the_largest(tmp_path: Path) -> None:
    text = """\
        command: run {n}
        sweep: {n: {range: [1, 5]}}
        resources: {cpus: 2, memory: {expr: "2 GB * n"}, time: {expr: "1 h * n"}}
        """
    plan = made(tmp_path, text)
    page = plan_text(plan, None, 80)
    assert "2 cpus, 8 GB memory, 2 GB disk (the largest; memory and time differ" in page
    assert "at most 4 h for a job\n" in page
    assert core_hours(plan) == (1 + 2 + 3 + 4) * 2
    assert "core hours   at most 20" in page


def test_core_hours_are_only_known_with_a_time(tmp_path: Path) -> None:
    assert core_hours(made(tmp_path, "command: run\nsweep: {count: 7}\n")) is None
    timed = "command: run\nsweep: {count: 7}\nresources: {time: 30 min, cpus: 4}\n"
    assert core_hours(made(tmp_path, timed)) == 7 * 4 * 0.5
    text = """\
        command: run {n}
        sweep: {n: [1, 2, 3]}
        resources: {cpus: {expr: n}, time: 1 h}
        """
    assert core_hours(made(tmp_path, text)) == 6


def test_an_environment_is_told_packed_or_not(tmp_path: Path) -> None:
    plan = made(tmp_path, "command: run\nenvironment: r.txt\n", **{"r.txt": "numpy\n"})
    unpacked, packed = plan_text(plan, None, 80), plan_text(plan, 30 * 1024**2, 80)
    assert "environment  r.txt (not packed yet, submit does it)" in unpacked
    assert "to a job     the environment" in unpacked
    assert "environment  r.txt (packed before, 30 MB)" in packed
    assert "to a job     at most 30 MB" in packed


def test_an_image_that_execution_points_get_is_none_of_submits_work(tmp_path: Path) -> None:
    page = plan_text(made(tmp_path, "command: run\nenvironment: docker://python:3.12\n"), None, 90)
    assert "docker://python:3.12 (each execution point gets the image itself)" in page
    assert "to a job     nothing but its parameters" in page
    assert "submit does it" not in page and "disk for the environment" not in page


def test_an_image_in_a_file_is_built_not_packed(tmp_path: Path) -> None:
    text = "command: run\nenvironment: i.def\n"
    plan = made(tmp_path, text, **{"i.def": "Bootstrap: docker\nFrom: debian:12\n"})
    assert "i.def (not built yet, submit does it)" in plan_text(plan, None, 80)
    assert "to a job     the environment" in plan_text(plan, None, 80)
    assert "environment  i.def (30 MB)" in plan_text(plan, 30 * 1024**2, 80)


def test_plan_json_is_json_and_says_what_the_page_says(tmp_path: Path) -> None:
    files = {"run.sh": "", "data/a.txt": "x", "data/b.txt": "y"}
    data = json.loads(json.dumps(plan_data(made(tmp_path, SWEEP, **files))))
    assert data["tasks"] == 60
    assert data["jobs"] == 20
    assert data["grouping"][-1] == "20 jobs of 3 tasks"
    assert data["job_resources"] == {
        "cpus": 2, "memory_mb": 1024, "disk_kb": 3 * 1024**2, "gpus": 0, "time_s": HOUR
    }  # fmt: skip
    assert data["core_hours"] == 40
    assert data["columns"] == ["mass", "file"]
    assert data["first"]["parameters"] == {"mass": 0.0, "file": "inputs/data/a.txt"}


def said(page: str, label: str) -> list[str]:
    """The lines that a page has under a label."""
    lines = page.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"{label:<13}"))
    under = takewhile(lambda line: line.startswith(" "), lines[first + 1 :])
    return [line[13:] for line in (lines[first], *under)]


def test_where_the_first_tasks_inputs_land_is_shown_shared_ones_too(tmp_path: Path) -> None:
    text = """\
        command: run {f}
        sweep: {f: {files: data/*.txt}}
        inputs: [{cal/s1.csv: cal.csv}]
        outputs: ["outputs/{f}.out", outputs/log]
        """
    files = {"data/a.txt": "a", "data/b.txt": "b", "cal/s1.csv": "1"}
    page = plan_text(made(tmp_path, text, **files), None, 80)
    assert said(page, "task 0 gets") == [
        "inputs/data/a.txt from data/a.txt",
        "inputs/cal.csv from cal/s1.csv",
    ]
    assert said(page, "comes back") == [
        "outputs/{f}.out, outputs/log",
        "of task 0: outputs/inputs/data/a.txt.out",
    ]


def test_of_many_inputs_five_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    files = {f"cal/{n}.csv": "1" for n in range(7)}
    plan = made(tmp_path, f"command: run\ninputs: [{', '.join(files)}]\n", **files)
    gets = said(plan_text(plan, None, 80), "task 0 gets")
    assert gets == [*(f"inputs/cal/{n}.csv from cal/{n}.csv" for n in range(5)), "and 2 more"]


def test_an_output_is_filled_with_the_text_and_not_with_a_pattern(tmp_path: Path) -> None:
    text = 'command: run\nsweep: {x: ["[a]*"]}\noutputs: ["outputs/{x}.{index}"]\n'
    page = plan_text(made(tmp_path, text), None, 80)
    assert said(page, "comes back")[1] == "of task 0: outputs/[a]*.0"


@pytest.mark.parametrize(
    ("outputs", "back"),
    [
        ("", "outputs/result.json (what the function returns), and whatever is in outputs/"),
        ("outputs: [a.npy]\n", "a.npy, outputs/result.json (what the function returns)"),
    ],
)
def test_what_a_function_returns_comes_back(tmp_path: Path, outputs: str, back: str) -> None:
    text = f"function: sim:main\nsweep: {{n: [3]}}\nfiles: [sim.py]\n{outputs}"
    page = plan_text(made(tmp_path, text, **{"sim.py": "def main(**row): ...\n"}), None, 120)
    assert said(page, "comes back") == [back]


def test_columns_that_vary_are_shown_where_not_all_fit(tmp_path: Path) -> None:
    constant = "".join(f"  constant_{n}: [value_of_{n}]\n" for n in range(9))
    text = f"command: run\nsweep:\n{constant}  varies: {{range: 9}}\n"
    plan = made(tmp_path, text)
    assert said(plan_text(plan, None, 80), "rows")[0].startswith("task  varies  constant_0  ")
    wide = said(plan_text(plan, None, 300), "rows")[0]
    assert wide.startswith("task  constant_0  ")
    assert wide.endswith("varies")


@pytest.mark.parametrize(
    ("sweep", "tasks"),
    [
        ("a: {range: 12}, b: {range: 21}, where: a != 3",
         "231 of 252 (12 a x 21 b), chosen by where"),
        ("a: {range: 9}, exclude: a > 3, sample: {n: 2, seed: 1}",
         "2 of 9, chosen by exclude and sample"),
        ("a: {range: 9}, where: a > 3, repeat: 2", "10 of 18 (9 a x 2 repeat), chosen by where"),
        ("a: {range: 40000}, b: {range: 40000}, sample: {n: 2, seed: 1}", "2, chosen by sample"),
    ],
)  # fmt: skip
def test_how_many_rows_were_chosen_of_how_many_is_told(
    tmp_path: Path, sweep: str, tasks: str
) -> None:
    page = plan_text(made(tmp_path, f"command: run\nsweep: {{{sweep}}}\n"), None, 80)
    assert said(page, "tasks") == [tasks]


def test_variables_retries_and_tags_are_told_where_they_are_given(tmp_path: Path) -> None:
    text = """\
        command: run
        sweep: {n: [1]}
        environment_variables: {THREADS: 2, N: "{n}"}
        retries: {times: 5, on: [3, 75]}
        tags: [pilot, paper-2]
        """
    plan = made(tmp_path, text)
    page = plan_text(plan, None, 80)
    assert said(page, "variables") == ["THREADS=2, N={n}"]
    assert said(page, "retries") == ["5 at most, after exit code 3 or 75"]
    assert said(page, "tags") == ["pilot, paper-2"]
    data = plan_data(plan)
    assert data["environment_variables"] == ["THREADS", "N"]
    assert data["retries"] == {"times": 5, "on": [3, 75]}
    assert data["tags"] == ["pilot", "paper-2"]
    bare = plan_text(made(tmp_path, "command: run\n"), None, 80)
    labels = {line[:13].strip() for line in bare.splitlines()}
    assert not labels & {"variables", "retries", "tags", "task 0 gets"}


@pytest.mark.parametrize(
    ("retries", "words"),
    [("0", "none"), ("{on: any}", "2 at most, after any failure"),
     ("4", "4 at most, after failures of the execution point"),
     ("{times: 0, memory: x2 up to 4 GB, disk: [4 GB, 9 GB]}",
      "none; after too much memory: x2 up to 4 GB; after too much disk: 4 GB, then 9 GB")],
)  # fmt: skip
def test_every_kind_of_retries_has_words(tmp_path: Path, retries: str, words: str) -> None:
    page = plan_text(made(tmp_path, f"command: run\nretries: {retries}\n"), None, 120)
    assert said(page, "retries") == [words]


def test_checkpoints_are_told_and_make_a_job_as_short_as_what_is_between_two(
    tmp_path: Path,
) -> None:
    text = (
        "command: run\nprofile: ospool\nresources: {time: 50 h}\nretries: {memory: x2 up to 4 GB}\n"
    )
    plan = made(tmp_path, text + "checkpoint: {files: [a, b/], every: 2 h}\n")
    assert said(plan_text(plan, None, 80), "checkpoint") == ["a, b/, every 2 h"]
    data = plan_data(plan)
    assert data["checkpoint"] == {"files": ("a", "b/"), "every_s": 7200}
    assert data["retries"]["memory_mb"] == [2048, 4096]
    assert not any("wants checkpoints" in w or "is Long" in w for w in plan.warnings)


def test_steps_that_are_no_more_than_the_request_are_warned_of(tmp_path: Path) -> None:
    text = "command: run\nresources: {memory: 4 GB}\nretries: {memory: x2 up to 4 GB}\n"
    (warning,) = [w for w in made(tmp_path, text).warnings if "retries" in w]
    assert "does nothing: up to 4 GB is not more than the 4 GB that a job asks for" in warning


@pytest.mark.parametrize(("profile", "told"), [("generic", False), ("ospool", True)])
def test_a_duration_category_is_told_only_where_the_pool_has_them(
    tmp_path: Path, profile: str, told: bool
) -> None:
    text = f"command: run\nprofile: {profile}\nproject: P\nresources: {{time: 1 h}}\n"
    page = plan_text(made(tmp_path, text), None, 80)
    assert said(page, "time") == ["at most 1 h" + " (category Medium)" * told]


# --- advice ---------------------------------------------------------------------------------------


def spec_with(
    profile: Profile = OSPOOL,
    resources: Resources = DEFAULTS,
    tasks_per_job: int = 1,
    submit: tuple[tuple[str, str], ...] = (),
    expressions: tuple[ResourceExpression, ...] = (),
) -> Spec:
    return Spec(
        Path("/home/alice/sweep/sweep.yaml"),
        b"",
        "sweep",
        command=(Template(("run",)),),
        resources=resources,
        profile=profile,
        tasks_per_job=tasks_per_job,
        submit=submit,
        expressions=expressions,
    )


def advice(
    spec: Spec,
    jobs: int = 10,
    job_s: int = 0,
    job_bytes: int = 0,
    largest_input: tuple[str, int] | None = None,
    demand: Resources | None = None,
) -> list[Advice]:
    return advise(
        spec,
        jobs=jobs,
        job_s=job_s,
        job_bytes=job_bytes,
        largest_input=largest_input,
        demand=demand,
    )


def test_an_ordinary_sweep_gets_no_advice() -> None:
    assert advice(spec_with(), job_s=HOUR, job_bytes=1000, largest_input=("a", 1000)) == []


def test_a_job_over_the_pools_longest_is_an_error() -> None:
    (found,) = advice(spec_with(resources=Resources(time_s=25 * HOUR)), job_s=25 * HOUR)
    assert found.error
    assert "a job may take 1 day 1 h, over the 20 h after which ospool wants checkpoints" in (
        found.text
    )
    assert "make tasks shorter" in found.text


def test_where_many_tasks_make_a_job_too_long_fewer_of_them_are_advised() -> None:
    spec = spec_with(resources=Resources(time_s=HOUR), tasks_per_job=25)
    (found,) = advice(spec, job_s=25 * HOUR)
    assert found.error
    assert "tasks_per_job" in found.text


def test_an_error_points_at_the_expression_that_makes_it() -> None:
    place = Place("sweep.yaml", 3, 7)
    spec = spec_with(expressions=(ResourceExpression("time", "30 h * n", place),))
    assert advice(spec, job_s=30 * HOUR)[0].place == place


def test_a_pool_without_a_limit_takes_any_length() -> None:
    assert advice(spec_with(Profile()), job_s=900 * HOUR) == []


@pytest.mark.parametrize(
    ("job_s", "category"), [(0, "Medium"), (10 * HOUR, "Medium"), (10 * HOUR + 1, "Long")]
)
def test_over_ten_hours_the_category_is_long(job_s: int, category: str) -> None:
    assert duration_category(job_s) == category
    said = [found.text for found in advice(spec_with(), job_s=job_s)]
    assert bool(said) == (category == "Long")


def test_a_folder_elsewhere_than_home_is_told(tmp_path: Path) -> None:
    here = replace(spec_with(), path=tmp_path / "sweep.yaml")
    away = replace(here, profile=replace(OSPOOL, home=str(tmp_path / "home")))
    (found,) = advice(away)
    assert str(tmp_path) in found.text
    assert "move the sweep's folder" in found.text
    (tmp_path / "home").symlink_to(tmp_path)
    assert advice(away) == []


def test_large_inputs_are_told() -> None:
    said = advice(spec_with(), job_bytes=3 * GB, largest_input=("ref.fa", 2 * GB))
    assert [found.error for found in said] == [False, False]
    assert said[0].text.startswith("ref.fa has 2 GB: a file over 1 GB should go through a stash, a")
    assert "there is no stash (`stash:` names one). Ask who runs this access" in said[0].text
    assert "brought up to 3 GB of inputs, over the 500 MB" in said[1].text
    (alone,) = advice(spec_with(), job_bytes=3 * GB)
    assert alone.text.endswith(said[0].text.partition("through a stash")[2])  # explained once
    staged = advise(spec_with(), jobs=1, job_s=0, job_bytes=GB, largest_input=None, stash=True)
    assert staged[0].text.endswith("go through the stash (shared: true)")
    assert "fewer tasks" not in said[1].text
    assert "fewer tasks" in advice(spec_with(tasks_per_job=9), job_bytes=3 * GB)[0].text
    unlimited = Profile(input_bytes=0, stash_bytes=0)
    assert advice(spec_with(unlimited), job_bytes=3 * GB, largest_input=("a", 2 * GB)) == []


def test_what_few_slots_have_is_told_where_slots_are_glideins() -> None:
    large = Resources(cpus=8, memory_mb=41 * 1024)
    (found,) = advice(spec_with(), demand=large)
    assert "few slots of ospool have 8 cpus and 41 GB of memory" in found.text
    assert advice(spec_with(Profile()), demand=large) == []
    assert advice(spec_with(), demand=Resources(cpus=7, memory_mb=40 * 1024)) == []


def test_many_short_jobs_are_told_but_not_those_that_auto_made() -> None:
    assert "100 jobs of at most 1 min" in advice(spec_with(), jobs=100, job_s=60)[0].text
    assert advice(spec_with(), jobs=99, job_s=60) == []
    assert advice(spec_with(), jobs=100, job_s=600) == []
    assert advice(spec_with(tasks_per_job=0), jobs=100, job_s=60) == []
    assert advice(spec_with(), jobs=100, job_s=0) == []


def test_more_jobs_than_the_pool_takes_get_max_idle() -> None:
    (found,) = advice(spec_with(), jobs=10_001)
    assert "max_idle = 2,000 is set" in found.text
    assert advice(spec_with(), jobs=10_000) == []


# --- notes on the table ---------------------------------------------------------------------------


def notes(folder: Path, text: str, **files: str) -> list[str]:
    plan = made(folder, text, **files)
    return table_notes(plan.spec, plan.table)


def test_a_column_that_nothing_uses_is_named(tmp_path: Path) -> None:
    assert notes(tmp_path, "command: run {a}\nsweep: {a: [1], b: [2], c: [3]}\n") == [
        "nothing uses the columns b, c: a task can read them only in params.json"
    ]
    many = ", ".join(f"c{n}: [1]" for n in range(9))
    (said,) = notes(tmp_path, f"command: run {{a}}\nsweep: {{a: [1], {many}}}\n")
    assert "c0, c1, c2, c3, c4 and 4 more" in said


@pytest.mark.parametrize(
    "text",
    [
        "command: run\nsweep: {a: [1], b: [2]}\n",  # reads params.json, or it would use one
        "command: run {a} {b}\nsweep: {a: [1], b: [2]}\n",
        "command: run {a}\nsweep: {a: [1], b: [2]}\nenvironment_variables: {B: '{b}'}\n",
        "command: run {a}\nsweep: {a: [1], b: [2]}\noutputs: ['outputs/{b}']\n",
        "command: run {a}\nsweep: {a: [1], b: [2], where: 'b > 1'}\n",
        "command: run {a}\nsweep: {a: [1], b: [2]}\nresources: {memory: {expr: '1 GB * b'}}\n",
        "command: run {a}\nsweep: {a: [1], b: {files: '*.yaml'}}\n",
        "command: run {a}\nsweep: {a: [1, 2], repeat: 3}\n",
        "function: m:f\nsweep: {a: [1], b: [2]}\n",
    ],
)
def test_columns_that_something_uses_are_not(tmp_path: Path, text: str) -> None:
    assert notes(tmp_path, text) == []


def test_a_column_without_its_braces_is_named(tmp_path: Path) -> None:
    bare = 'the command has "a" without braces: write {a} for the value of the column'
    sweep = "sweep: {a: [1], b: [2]}\n"
    assert notes(tmp_path, f"command: run a\n{sweep}") == [bare]
    assert notes(tmp_path, f"command: run --a=a {{b}}\n{sweep}") == [bare]  # and only once
    assert notes(tmp_path, f"command: a --a\n{sweep}") == []  # the program; an option
    assert notes(tmp_path, f"command: run a {{a}} {{b}}\n{sweep}") == []
    assert notes(tmp_path, "command: run repeat\nsweep: {a: [1], repeat: 3}\n") == []


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        ("{a: [Ada Grace Katherine]}", 'sweep.a has one value, "Ada Grace Katherine"'),
        ("{a: [ 2.8 -3.6e1 ]}", 'sweep.a has one value, "2.8 -3.6e1"'),
        ("{zip: {a: [x y]}}", 'sweep.zip.a has one value, "x y"'),
        ("\n  a:\n    - 2.8 3.6", 'sweep.a has one value, "2.8 3.6"'),
        (f"{{a: [{'x ' * 99}]}}", f'sweep.a has one value, "{"x " * 30}..."'),
    ],
)
def test_commas_that_were_forgotten_are_told(tmp_path: Path, sweep: str, told: str) -> None:
    expected = [f"{told}: commas separate values"]
    assert notes(tmp_path, f"command: run {{a}}\nsweep: {sweep}\n") == expected


@pytest.mark.parametrize(
    "sweep",
    [
        "{a: ['Ada Grace']}",
        '{a: ["2.8 3.6"]}',
        "{a: [Ada Grace, Katherine]}",
        "{a: [Ada]}",
        "\n  a:\n    - Ada Grace",
        "\n  a:\n    - '2.8 3.6'",
        "{table: [{a: 2.8 3.6}]}",
    ],
)
def test_one_value_with_blanks_that_is_meant_is_not(tmp_path: Path, sweep: str) -> None:
    assert notes(tmp_path, f"command: run {{a}}\nsweep: {sweep}\n") == []


def test_a_new_column_of_set_with_a_near_name_is_asked_about(tmp_path: Path) -> None:
    def told(text: str, *settings: str) -> list[str]:
        (tmp_path / "sweep.yaml").write_text(text)
        spec = load_spec(tmp_path / "sweep.yaml", settings)
        return table_notes(spec, expand(spec))

    asked = ["sweep.grwoth, given by --set, is a new column: did you mean sweep.growth?"]
    text = "command: run {growth}\nsweep: {growth: [1]}\n"
    assert told(text, "sweep.grwoth=[2]") == asked
    assert told("function: m:f\nsweep: {zip: {growth: [1]}}\n", "sweep.grwoth=[2]") == asked
    assert told(text, "sweep.growth=[2]") == []
    assert "nothing uses column far" in told(text, "sweep.far=[2]")[0]
    assert told("command: run {growth} {grwoth}\nsweep: {growth: [1]}\n", "sweep.grwoth=[2]") == []


def test_equal_rows_are_told_with_the_first_pair(tmp_path: Path) -> None:
    text = "command: run {x} {n}\nsweep: {table: t.csv, n: [1, 2]}\n"
    (said,) = notes(tmp_path, text, **{"t.csv": "x\na\nb\na\na\n"})
    assert said.startswith(
        "2 rows are there already, such as that of task 4, which is task 0 again"
    )
    assert made(tmp_path, text).table.row(4) == made(tmp_path, text).table.row(0)


@pytest.mark.parametrize(
    "sweep",
    [
        "{x: [1, 1.0, '1 ']}",
        "{x: [1, 2], repeat: 3}",
        "{x: {random: {choice: [a, b], n: 50, seed: 1}}}",
        "{zip: {x: {random: {choice: [a, b], n: 9, seed: 1}}}}",
        "{x: [1, 2], y: [1, 2]}",
    ],
)
def test_rows_that_differ_or_are_meant_to_be_equal_are_not(tmp_path: Path, sweep: str) -> None:
    assert notes(tmp_path, f"command: run {{x}}{' {y}' * ('y:' in sweep)}\nsweep: {sweep}\n") == []


def test_the_index_tells_equal_rows_apart(tmp_path: Path) -> None:
    assert notes(tmp_path, "command: run {x} {index}\nsweep: {x: [1, 1]}\n") == []
    assert len(notes(tmp_path, "command: run {x}\nsweep: {x: [1, 1]}\n")) == 1


def test_a_million_rows_are_not_compared() -> None:
    class Unread(Sequence[Cell]):
        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, number: object) -> NoReturn:
            raise AssertionError("a row is read")

    table = Table(((Column("x", Unread()), Column("y", Unread())),))
    spec = replace(spec_with(), command=(Template(("run ", "x", " ", "y", "")),))
    assert table_notes(spec, table) == []
