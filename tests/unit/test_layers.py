"""Layered settings: extends, --set, defaults of user, class and pool; `osgbatch config`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from typer.testing import CliRunner

from osgbatch.cli.app import command_line
from osgbatch.cli.settings import effective_settings, settings_text
from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.spec import profiles
from osgbatch.spec.document import Document, parse_document
from osgbatch.spec.layers import Layered, read_layers
from osgbatch.spec.load import load_spec
from osgbatch.spec.writing import effective_text


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to work in, without anybody's defaults."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "OSGBATCH_DEFAULTS", "OSGBATCH_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(profiles, "host_names", lambda: ("laptop",))
    monkeypatch.chdir(work)
    return work


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(text: str, *settings: str) -> Layered:
    return read_layers(write("sweep.yaml", text), settings)


def data(text: str, *settings: str) -> Any:
    return read(text, *settings).document.data


def complaint(text: str, *settings: str) -> str:
    with pytest.raises(OsgbatchError) as caught:
        read(text, *settings)
    return str(caught.value)


def user_config(text: str) -> Path:
    return write(f"{os.environ['HOME']}/.config/osgbatch/config.yaml", text)


# --- without other layers ---------------------------------------------------------------------


def test_a_spec_alone_is_read_as_it_stands() -> None:
    text = "command: echo\nresources: {memory: 1 GB} # enough\n"
    layered = read(text)
    assert layered.document.raw == text.encode()
    assert [layer.kind for layer in layered.layers] == ["spec"]
    assert layered.profile.name == "generic"


def test_defaults_that_the_spec_overrules_leave_its_bytes_alone() -> None:
    user_config("resources: {memory: 8 GB}\n")
    text = "command: echo\nresources: {memory: 1 GB}\n"
    assert read(text).document.raw == text.encode()


def test_an_empty_config_is_no_layer() -> None:
    user_config("# nothing yet\n")
    assert [layer.kind for layer in read("command: echo\n").layers] == ["spec"]


# --- merging ----------------------------------------------------------------------------------


def test_mappings_merge_by_key_and_lists_are_replaced() -> None:
    write("base.yaml", "command: echo\noutputs: [a, b]\nresources: {cpus: 2, memory: 2 GB}\n")
    assert data("extends: base.yaml\noutputs: [c]\nresources: {memory: 3 GB}\n") == {
        "command": "echo",
        "outputs": ["c"],
        "resources": {"cpus": 2, "memory": "3 GB"},
    }


def test_columns_merge_by_name_in_the_order_of_the_base_and_each_is_replaced_whole() -> None:
    write("base.yaml", "command: e\nsweep: {x: {range: 5}, y: [1], where: x > 1}\n")
    sweep = data("extends: base.yaml\nsweep: {z: [2], x: {files: '*.npy'}}\n")["sweep"]
    assert list(sweep.items()) == [
        ("x", {"files": "*.npy"}), ("y", [1]), ("where", "x > 1"), ("z", [2]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "spec", "merged"),
    [
        ("environment: {requirements: r.txt}", "environment: none", "none"),
        ("environment: {requirements: r.txt}", "environment: {conda: c}", {"conda": "c"}),
        ("resources: {cpus: {expr: n}}", "resources: {cpus: 2}", {"cpus": 2}),
        ("resources: {cpus: 2}", "resources: {cpus: {expr: n}}", {"cpus": {"expr": "n"}}),
        ("retries: {times: 2, on: any}", "retries: 3", {"times": 3, "on": "any"}),
        ("retries: 3", "retries: {on: any}", {"times": 3, "on": "any"}),
        ("retries: 3", "retries: 4", 4),
        ("gpus: {count: 1, min_memory: 8 GB}", "gpus: 2", {"count": 2, "min_memory": "8 GB"}),
        ("notify: me@x.org", "notify: {when: error}", {"email": "me@x.org", "when": "error"}),
        (
            "requirements: {os: el9, sites: {only: [A]}}",
            "requirements: {sites: {avoid: [B]}}",
            {"os": "el9", "sites": {"avoid": ["B"]}},
        ),
    ],
)
def test_ways_to_say_one_thing_replace_each_other(base: str, spec: str, merged: Any) -> None:
    write("base.yaml", f"command: e\n{base}\n")
    assert data(f"extends: base.yaml\n{spec}\n")[spec.split(":")[0]] == merged


@pytest.mark.parametrize(
    ("base", "spec", "gpus", "memory_mb"),
    [
        ("resources: {gpus: 1}", "gpus: 2", 2, 0),
        ("resources: {gpus: 3}", "gpus: {min_memory: 8 GB}", 3, 8192),
        ("gpus: {count: 1, min_memory: 8 GB}", "resources: {gpus: 2}", 2, 8192),
        ("gpus: 1", "resources: {gpus: 2}", 2, 0),
        ("gpus: 1", "resources: {gpus: 0}", 0, 0),
    ],
)
def test_both_ways_to_count_gpus_are_one(base: str, spec: str, gpus: int, memory_mb: int) -> None:
    write("base.yaml", f"command: e\n{base}\n")
    found = load_spec(write("sweep.yaml", f"extends: base.yaml\n{spec}\n"))
    assert (found.resources.gpus, found.gpus.min_memory_mb) == (gpus, memory_mb)


def test_of_command_script_and_function_the_later_one_counts() -> None:
    write("base.yaml", "command: echo\nfunction: a:b\nname: n\n")
    assert data("extends: base.yaml\nscript: ls\n") == {"name": "n", "script": "ls"}
    assert data("command: echo\n", "function=a:b") == {"function": "a:b"}


def test_null_removes_what_a_weaker_layer_says() -> None:
    write("base.yaml", "command: e\ngather: g.py\nsweep: {x: [1], y: [2]}\nresources: {cpus: 2}\n")
    merged = data("extends: base.yaml\ngather: null\nsweep: {x: null}\n", "resources.cpus=null")
    assert merged == {"command": "e", "sweep": {"y": [2]}, "resources": {}}


def test_null_that_removes_nothing_is_told_of_in_a_spec_and_harmless_elsewhere() -> None:
    user_config("gather: null\nresources: {time: null}\n")
    assert data("command: e\n", "project=null") == {"command": "e", "resources": {}}
    assert data("command: e\ngather: null\n")["gather"] is None


def test_a_large_table_is_the_same_with_defaults_around_it() -> None:
    user_config("resources: {memory: 4 GB}\n")
    rows = "\n".join(f"  - {{a: {i}, b: {i}.50}}" for i in range(500))
    layered = read(f"command: e\nsweep:\n  table:\n{rows}\n", "resources.cpus=2")
    document = layered.document
    assert document.texts["sweep", "table", 499, "b"] == "499.50"
    assert document.place(("sweep", "table", 499, "b")).line == 503
    assert document.place(("resources", "memory")).file == "~/.config/osgbatch/config.yaml"
    assert parse_document(document.raw, "again").texts["sweep", "table", 499, "b"] == "499.50"


# --- extends ----------------------------------------------------------------------------------


def test_later_bases_win_and_a_base_may_extend_others() -> None:
    write("a.yaml", "command: a\nname: a\nproject: a\n")
    write("b.yaml", "extends: c.yaml\nname: b\n")
    write("c.yaml", "name: c\nproject: c\ngather: c.py\n")
    layered = read("extends: [a.yaml, b.yaml]\n")
    assert layered.document.data == {
        "command": "a", "name": "b", "project": "c", "gather": "c.py",
    }  # fmt: skip
    assert [layer.file for layer in layered.layers] == [
        "a.yaml", "c.yaml", "b.yaml", "sweep.yaml",
    ]  # fmt: skip


def test_places_are_those_of_the_file_that_says_it() -> None:
    write("lab/base.yaml", "command: e\nresources:\n  memory: 1\n")
    write("lab/mine/sweep.yaml", "extends: ../base.yaml\nname: 5 5\ntasks_per_job: x\n")
    with pytest.raises(OsgbatchError) as caught:
        load_spec(Path("lab/mine/sweep.yaml"), ["resources.cpus=many"])
    told = str(caught.value)
    assert "lab/base.yaml:3:11: resources.memory: a size needs a unit" in told
    assert "    3 |   memory: 1\n      |           ^" in told
    assert "lab/mine/sweep.yaml:3:16: tasks_per_job" in told
    assert "--set:1:16: resources.cpus: should be a whole number" in told
    assert "    1 | resources.cpus=many\n      |                ^^^^" in told


def test_a_cycle_is_told_with_its_chain() -> None:
    write("a.yaml", "command: e\nextends: b.yaml\n")
    write("b.yaml", "extends: [a.yaml]\n")
    told = complaint("extends: a.yaml\n")
    assert "b.yaml:1:11: extends leads back to where it came from: a.yaml -> b.yaml -> a.yaml" in (
        told
    )
    assert "sweep.yaml -> sweep.yaml" in complaint("extends: ./sweep.yaml\n")


def test_one_base_by_two_ways_is_no_cycle() -> None:
    write("a.yaml", "extends: c.yaml\n")
    write("b.yaml", "extends: c.yaml\n")
    write("c.yaml", "command: e\n")
    assert data("extends: [a.yaml, b.yaml]\n") == {"command": "e"}


def test_bases_without_end_are_refused() -> None:
    for i in range(12):
        write(f"b{i}.yaml", f"extends: [b{i + 1}.yaml, b{i + 1}.yaml]\n")
    write("b12.yaml", "command: e\n")
    assert "more than 100 files are extended" in complaint("extends: b0.yaml\n")


def test_missing_and_odd_bases_are_told_at_their_place() -> None:
    told = complaint("command: e\nextends: [no.yaml, 5]\n")
    assert 'sweep.yaml:2:11: cannot read "no.yaml": No such file or directory' in told
    assert "sweep.yaml:2:20: extends: should be the path of another sweep.yaml" in told
    write("base.yaml", "a: [\n")
    assert complaint("extends: base.yaml\n").startswith("base.yaml:2:1: not YAML")


# --- paths of a base --------------------------------------------------------------------------


def test_paths_of_a_base_start_from_its_own_folder() -> None:
    write(
        "lab/base.yaml",
        """command: e
files: [a.py, ./b.py, /abs/c.py, "*.txt"]
libraries: lib/
gather: g.py
environment: requirements.txt
related: {path: ref/, as: r/}
inputs: [m.h5, "@list.txt", {d.h5: e.h5}, "osdf:///x", "{f}", "c/{x}.csv"]
sweep:
  f: {files: [data/*.npy]}
  n: {lines: names.txt}
  x: [data/0.npy]
  zip: [{p: {files: p/*}, q: [1]}]
  table: [t.csv, u.tsv]
""",
    )
    write("mine/sweep.yaml", "extends: ../lab/base.yaml\n")
    document = read_layers(Path("mine/sweep.yaml")).document
    assert document.data == {
        "command": "e",
        "files": ["../lab/a.py", "../lab/b.py", "/abs/c.py", "../lab/*.txt"],
        "libraries": "../lab/lib/",
        "gather": "../lab/g.py",
        "environment": "../lab/requirements.txt",
        "related": {"path": "../lab/ref/", "as": "r/"},
        "inputs": [
            "../lab/m.h5", "@../lab/list.txt", {"../lab/d.h5": "e.h5"}, "osdf:///x", "{f}",
            "../lab/c/{x}.csv",
        ],
        "sweep": {
            "f": {"files": ["../lab/data/*.npy"]},
            "n": {"lines": "../lab/names.txt"},
            "x": ["data/0.npy"],
            "zip": [{"p": {"files": "../lab/p/*"}, "q": [1]}],
            "table": ["../lab/t.csv", "../lab/u.tsv"],
        },
    }  # fmt: skip
    assert document.texts["files", 0] == "../lab/a.py"
    assert document.place(("files", 0)).file == "lab/base.yaml"
    assert document.place(("inputs", 2, "../lab/d.h5"), key=True).column == 30


def test_a_base_in_the_same_folder_by_another_way_keeps_its_paths() -> None:
    write("base.yaml", "command: e\nfiles: [a.py]\n")
    assert data("extends: ../work/base.yaml\n")["files"] == ["a.py"]


def test_odd_names_of_a_bases_folder_stay_names() -> None:
    write("a[1]{b}/base.yaml", "command: e\ninputs: [x.h5, '*.h5']\nsweep: {f: {files: '*.npy'}}\n")
    write("a[1]{b}/0.npy", "")
    write("a[1]{b}/x.h5", "")
    write("mine/sweep.yaml", "extends: ../a[1]{b}/base.yaml\n")
    document = read_layers(Path("mine/sweep.yaml")).document
    assert document.data["inputs"] == ["../a[1]{{b}}/x.h5", "../a[[]1]{{b}}/*.h5"]
    assert document.data["sweep"]["f"]["files"] == "../a[[]1]{b}/*.npy"


def test_a_spec_behind_a_link_starts_from_its_real_folder() -> None:
    write("real/deep/sweep.yaml", "extends: ../base.yaml\n")
    write("real/base.yaml", "command: e\nfiles: [a.py]\n")
    Path("link").symlink_to("real/deep")
    assert read_layers(Path("link/sweep.yaml")).document.data["files"] == ["../a.py"]


def test_words_that_are_no_paths_stay() -> None:
    write("lab/base.yaml", "command: e\nenvironment: none\nprofile: ospool\n")
    merged = data("extends: lab/base.yaml\n")
    assert (merged["environment"], merged["profile"]) == ("none", "ospool")


# --- defaults of the user and of the class --------------------------------------------------------


def test_the_spec_wins_over_the_user_who_wins_over_the_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OSGBATCH_DEFAULTS", str(write("class.yaml", "project: C\ntags: [c]\n")))
    user_config("tags: [u]\nresources: {memory: 2 GB, cpus: 3}\n")
    layered = read("command: e\nresources: {cpus: 1}\n")
    assert layered.document.data == {
        "project": "C",
        "tags": ["u"],
        "resources": {"memory": "2 GB", "cpus": 1},
        "command": "e",
    }
    assert [layer.kind for layer in layered.layers] == ["class", "user", "spec"]


def test_defaults_cannot_make_a_sweep() -> None:
    user_config("command: e\nproject: P\nsweep: {x: [1]}\nextends: a.yaml\n")
    told = complaint("command: e\n")
    assert '~/.config/osgbatch/config.yaml:1:1: "command" cannot stand in your defaults' in told
    assert '~/.config/osgbatch/config.yaml:3:1: "sweep" cannot' in told
    assert '~/.config/osgbatch/config.yaml:4:1: "extends" cannot' in told


def test_paths_in_the_users_defaults_start_from_their_folder() -> None:
    user_config("libraries: [lib/]\n")
    assert data("command: e\n")["libraries"] == ["../home/.config/osgbatch/lib/"]


def test_a_defaults_file_that_is_not_there_is_an_error_only_when_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert data("command: e\n") == {"command": "e"}
    monkeypatch.setenv("OSGBATCH_DEFAULTS", "")
    assert data("command: e\n") == {"command": "e"}
    monkeypatch.setenv("OSGBATCH_DEFAULTS", "no.yaml")
    told = complaint("command: e\n")
    assert told.startswith("no.yaml: cannot read the class's defaults: No such file or directory")
    assert "$OSGBATCH_DEFAULTS needs its whole path." in told
    monkeypatch.setenv("OSGBATCH_DEFAULTS", "~/no.yaml")
    whole = f"$OSGBATCH_DEFAULTS needs its whole path, {os.environ['HOME']}/no.yaml."
    assert whole in complaint("command: e\n")
    monkeypatch.setenv("OSGBATCH_DEFAULTS", "/no/class.yaml")
    assert "names this file: correct it, or unset it" in complaint("command: e\n")


def test_a_column_that_is_set_without_sweep_in_front_is_known() -> None:
    write("sweep.yaml", "command: e\nsweep: {population: [1], memory: [2]}\n")

    def told(setting: str) -> SpecError:
        with pytest.raises(SpecErrors) as caught:
            load_spec(Path("sweep.yaml"), [setting])
        (error,) = caught.value.errors
        return error

    assert told("population=[0.2]").what == 'unknown key "population"'
    assert told("population=[0.2]").fix == "Did you mean sweep.population?"
    assert told("popluation=[0.2]").fix == "Did you mean sweep.population?"
    assert told("memory=[3]").fix == "Did you mean sweep.memory, or resources.memory?"
    assert told("xyz=[3]").fix.startswith("Known are name, ")
    assert told("sweep.population={linspace:[1,2,3]}").fix == "Write a blank after the colon."


def test_defaults_that_are_a_folder_are_an_error() -> None:
    Path(os.environ["HOME"], ".config/osgbatch/config.yaml").mkdir(parents=True)
    assert "cannot read your defaults: Is a directory" in complaint("command: e\n")


# --- the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("name=abc", {"name": "abc"}),
        ("retries=3", {"retries": 3}),
        ("sweep.x=[1, 2.50]", {"sweep": {"x": [1, 2.5]}}),
        ("resources.memory=4 GB", {"resources": {"memory": "4 GB"}}),
        (" resources.memory = 4 GB", {"resources": {"memory": "4 GB"}}),
        ("environment_variables.A=b=c", {"environment_variables": {"A": "b=c"}}),
        ("submit.MY.Flag=true", {"submit": {"MY.Flag": True}}),
        ("sweep.x.range=5", {"sweep": {"x": {"range": 5}}}),
        ("name=''", {"name": ""}),
        ("name='007'", {"name": "007"}),
    ],
)
def test_a_setting_is_read_as_yaml(setting: str, expected: Any) -> None:
    assert data("command: e\n", setting) == {"command": "e", **expected}


def test_the_last_setting_wins() -> None:
    assert data("command: e\nname: a\n", "name=b", "name=c")["name"] == "c"


def test_a_setting_changes_one_thing_and_keeps_what_is_around_it() -> None:
    text = "command: e\nsweep: {x: {random: {uniform: [0, 1], n: 9, seed: 1}}, f: [a]}\n"
    merged = data(text, "sweep.x.random.n=3", "sweep.f.lines=a.txt")
    assert merged["sweep"] == {
        "x": {"random": {"uniform": [0, 1], "n": 3, "seed": 1}}, "f": {"lines": "a.txt"},
    }  # fmt: skip
    assert data(text, "sweep.x.range=3")["sweep"]["x"] == {"range": 3}


def test_a_setting_keeps_the_places_of_what_is_around_it() -> None:
    document = read("command: e\nresources: {cpus: 2}\n", "resources.memory=4GB").document
    assert document.place(("resources",)).file == "sweep.yaml"
    assert document.place(()).file == "sweep.yaml"
    assert document.place(("resources", "memory")).file == "--set"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("name", "--set:1:1: a setting is KEY=VALUE"),
        ("=5", "--set:1:1: an empty name in the key"),
        ("a..b=5", "--set:1:1: an empty name in the key"),
        ("name=", '--set:1:1: no value for "name"'),
        ("name= ", '--set:1:1: no value for "name"'),
        ("files.0=a", "--set:1:7: one entry of a list cannot be set"),
        ("files[0]=a", "--set:1:1: one entry of a list cannot be set"),
        ("name.x=1", '--set:1:6: name is one value here, and has no part "x"'),
        ("files.x=1", '--set:1:7: files is a list here, and has no part "x"'),
        ("sweep.x=[1, 2", '--set:1:9: not YAML: "[" is opened and never closed'),
        ("sweep.x=[1, *a]", "--set:1:13: not YAML: text cannot begin with"),
        ("name=# only a comment", "--set:1:6: no value for name"),
    ],
)
def test_bad_settings_are_told_with_a_caret(setting: str, told: str) -> None:
    path = write("sweep.yaml", "command: e\nname: n\nfiles: [a]\n")
    with pytest.raises(OsgbatchError) as caught:
        load_spec(path, [setting])
    assert str(caught.value).startswith(told)
    assert f" | {setting}" in str(caught.value)


def test_all_bad_settings_are_told_at_once() -> None:
    told = complaint("command: e\n", "name", "files.0=a")
    assert "KEY=VALUE" in told
    assert "one entry of a list" in told


# --- the text of the whole ------------------------------------------------------------------------


def test_the_merged_text_names_its_layers_and_keeps_what_was_written() -> None:
    write("base.yaml", "command: e\nsweep: {x: [1, 2.50, '3', no, 007]}\n")
    document = read("extends: base.yaml\nprofile: ospool\n", "resources.memory=4GB").document
    assert document.raw.decode() == (
        "# Merged by osgbatch, later ones over earlier ones:\n"
        "#   base.yaml\n#   sweep.yaml\n#   --set resources.memory=4GB\n"
        "command: e\nsweep:\n  x: [1, 2.50, '3', no, 007]\n"
        "profile: ospool\nresources: {memory: 4GB}\n"
    )


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", " ", "a\nb", " a\n b\n", "#x", "a: b", "- x", "no", "~", "1e999", "'"]),
)  # fmt: skip
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@limits(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=6), _TREES, max_size=5))
def test_the_merged_text_reads_as_the_same_settings(tree: dict[str, Any]) -> None:
    raw = effective_text(Document("x", b"", tree, {}, {}, {}), ["a"])
    assert repr(parse_document(raw, "y", may_be_empty=True).data) == repr(tree)


_KEYS = st.sampled_from(["resources", "sweep", "environment", "retries", "submit", "tags", "name"])
_PARTS = st.sampled_from(["x", "memory", "times", "where"])
_LAYERS = st.dictionaries(
    _KEYS,
    st.integers(0, 3) | st.dictionaries(_PARTS, st.integers(0, 3) | st.lists(st.integers(0, 3))),
)


@limits(max_examples=200, deadline=None)
@given(_LAYERS, _LAYERS)
def test_every_merged_value_has_its_text_and_place(
    low: dict[str, Any], high: dict[str, Any]
) -> None:
    from osgbatch.spec.merging import merge

    def document(name: str, tree: dict[str, Any]) -> Document:
        raw = effective_text(Document(name, b"", tree, {}, {}, {}), [name])
        return parse_document(raw, name, may_be_empty=True)

    for reverse in (False, True):  # the larger of the two is the one that is added to
        first, second = (high, low) if reverse else (low, high)
        merged, _ = merge(document("low", first), document("high", second), "spec")

        def look(value: Any, loc: tuple[Any, ...], merged: Document = merged) -> None:
            assert loc in merged.values
            if isinstance(value, dict):
                for key, item in value.items():
                    assert (*loc, key) in merged.keys
                    look(item, (*loc, key), merged)
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    look(item, (*loc, i), merged)
            else:
                assert merged.texts[loc] == str(value)

        look(merged.data, ())
        for key, value in second.items():
            if not isinstance(value, dict):
                assert merged.place((key,)).file == "high"


# --- profiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("ap40.uw.osg-htc.org", "ospool"),
        ("AP21.uc.osg-htc.org", "ospool"),
        ("ap41.uw.osg-htc.org", "ospool"),
        ("ap43.uw.osg-htc.org", "ospool"),
        ("ap7.ospool.osg-htc.org", "ospool"),
        ("ap1.facility.path-cc.io", "path-facility"),
        ("ap2002.chtc.wisc.edu", "chtc"),
        ("e2001.chtc.wisc.edu", "generic"),
        ("ap40.uw.osg-htc.org.evil.example", "generic"),
        ("laptop", "generic"),
    ],
)
def test_an_access_point_is_known_by_its_name(
    host: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "host_names", lambda: (host,))
    assert read("command: e\n").profile.name == name


def test_a_short_host_name_gets_its_domains_without_a_name_service(tmp_path: Path) -> None:
    resolv = write("resolv.conf", "nameserver 1.2.3.4\nsearch uw.osg-htc.org cs.wisc.edu\n")
    assert profiles._domains(resolv) == ["uw.osg-htc.org", "cs.wisc.edu"]
    assert profiles._domains(Path("no")) == []


def test_facts_of_the_ospool() -> None:
    found = read("command: e\n", "profile=ospool").profile
    assert (found.name, found.home, found.glideins) == ("ospool", "/home", True)
    assert (found.input_bytes, found.stash_bytes) == (500 * 1024**2, 1024**3)
    assert (found.many_jobs, found.max_idle, found.longest_s) == (10_000, 2_000, 72_000)


def test_generic_is_what_the_model_says() -> None:
    from osgbatch.spec_model import Profile

    assert profiles.known_profile("generic").facts == Profile()


def test_every_profile_ships_with_the_package_and_reads() -> None:
    names = ["campus", "chtc", "generic", "local", "ospool", "path-facility", "personal"]
    assert profiles.known_profiles() == names
    assert all(profiles.known_profile(name).title for name in names)


def test_a_layer_wins_over_the_variable_which_wins_over_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profiles, "host_names", lambda: ("ap40.uw.osg-htc.org",))
    assert read("command: e\n").profile.name == "ospool"
    monkeypatch.setenv("OSGBATCH_PROFILE", "chtc")
    assert read("command: e\n").profile.name == "chtc"
    user_config("profile: local\n")
    assert read("command: e\n").profile.name == "local"
    assert read("command: e\n", "profile=generic").profile.name == "generic"
    assert read("command: e\n", "profile=null").profile.name == "chtc"


def test_an_unknown_profile_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint("command: e\nprofile: ospol\n")
    assert told.startswith('sweep.yaml:2:10: unknown profile "ospol"; did you mean "ospool"?')
    monkeypatch.setenv("OSGBATCH_PROFILE", "ospol")
    assert complaint("command: e\n").startswith('$OSGBATCH_PROFILE: unknown profile "ospol"')


def test_ones_own_profile_has_defaults_weaker_than_all_else() -> None:
    write(
        "pools/mine.yaml",
        "title: Ours\nlongest: 2 days\nmany_jobs: 50\n"
        "defaults:\n  project: P\n  resources: {memory: 3 GB, cpus: 2}\n  libraries: [lib/]\n",
    )
    user_config("resources: {cpus: 4}\n")
    layered = read("command: e\nprofile: pools/mine.yaml\n")
    assert (layered.profile.name, layered.profile.longest_s) == ("mine", 172_800)
    assert layered.profile.max_idle == 2000
    assert layered.document.data["resources"] == {"memory": "3 GB", "cpus": 4}
    assert layered.document.data["libraries"] == ["pools/lib/"]
    place = layered.document.place(("project",))
    assert (place.file, place.line) == ("pools/mine.yaml", 5)


def test_mistakes_in_a_profile_are_told_all_at_once() -> None:
    write(
        "mine.yaml",
        "titel: a\nlongest: 5\nglideins: 1\nmany_jobs: x\nhosts: ['(']\ndefaults: 5\n",
    )
    told = complaint("command: e\nprofile: ./mine.yaml\n")
    assert 'mine.yaml:1:1: unknown key "titel" in a profile; did you mean "title"?' in told
    assert "mine.yaml:2:10: longest: a time needs a unit" in told
    assert "mine.yaml:3:11: glideins: should be true or false" in told
    assert "mine.yaml:4:12: many_jobs: should be a whole number" in told
    assert "mine.yaml:5:9: not a regular expression" in told
    assert "mine.yaml:6:11: defaults: should be settings" in told


def test_defaults_of_a_profile_cannot_make_a_sweep() -> None:
    write("mine.yaml", "defaults: {command: e, profile: ospool}\n")
    told = complaint("command: e\nprofile: ./mine.yaml\n")
    assert 'mine.yaml:1:12: "command" cannot stand in the defaults of a profile' in told
    assert '"profile" cannot stand' in told


# --- osgbatch config, and --set of the other commands ---------------------------------------------


def config_lines(*arguments: str) -> dict[str, tuple[str, str]]:
    done = CliRunner().invoke(command_line(), ["config", *arguments], env={"COLUMNS": "100"})
    assert done.exception is None, done.output
    lines = [line.split("  ") for line in done.output.splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines if line[0]]
    return {cell[0]: (cell[1], cell[2]) for cell in cells}


def test_config_shows_each_setting_and_where_it_comes_from() -> None:
    write("base.yaml", "command: python a.py\nresources: {memory: 2 GB}\n")
    user_config("project: P\n")
    write("sweep.yaml", "extends: base.yaml\nsweep:\n  x: [1, 2.50]\nretries: 5\n")
    found = config_lines("sweep.yaml", "--set", "resources.time=5 min")
    assert found == {
        "setting": ("value", "from"),
        "name": ("work", "default"),
        "profile": ("generic", "default"),
        "command": ("python a.py", "base.yaml:1"),
        "sweep.x": ("[1, 2.50]", "sweep.yaml:3"),
        "environment": ("none", "default"),
        "resources.memory": ("2 GB", "base.yaml:2"),
        "resources.time": ("5 min", "--set"),
        "resources.cpus": ("1", "default"),
        "resources.disk": ("2 GB", "default"),
        "resources.gpus": ("0", "default"),
        "retries.times": ("5", "sweep.yaml:4"),
        "retries.on": ("infrastructure", "default"),
        "tasks_per_job": ("1", "default"),
        "project": ("P", "~/.config/osgbatch/config.yaml:1"),
    }


def test_config_tells_that_the_command_line_has_replaced_a_whole_mapping() -> None:
    write("sweep.yaml", "command: e\nrequirements:\n  sites: {only: [A]}\n  os: RHEL 9\n")
    found = config_lines("sweep.yaml", "--set", "requirements.sites.avoid=[B]")
    assert found["requirements.sites"] == ("{avoid: [B]}", "--set")
    assert found["requirements.os"][1] == "sweep.yaml:4"


def test_config_shows_the_defaults_of_a_spec_that_says_nothing() -> None:
    write("sweep.yaml", "command: e\n")
    found = config_lines("sweep.yaml")
    assert found["resources.memory"] == ("1 GB", "default")
    assert found["resources.cpus"] == ("1", "default")
    assert found["retries.times"] == ("2", "default")
    assert found["retries.on"] == ("infrastructure", "default")


def test_config_says_that_a_profile_gave_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    data_folder = Path("data")
    write("data/generic.yaml", "title: g\n")
    write("data/ours.yaml", "defaults: {project: P}\nhosts: [laptop]\n")
    monkeypatch.setattr(profiles, "DATA", data_folder.absolute())
    write("sweep.yaml", "command: e\n")
    found = config_lines("sweep.yaml")
    assert found["project"] == ("P", "profile ours")
    assert found["profile"] == ("ours", "host name")


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_config_fits_the_terminal_and_wraps_what_is_long(width: int) -> None:
    folder = "a-folder-with-a-rather-long-name/another-one"
    long = "AN_ENVIRONMENT_VARIABLE_OF_A_LONG_NAME"
    path = write(
        f"{folder}/sweep.yaml",
        f"command: run {'word ' * 20}end\nsweep: {{x: {[*range(9999)]}}}\n"
        f"environment_variables: {{{long}: {'v' * 70}}}\n",
    )
    layered = read_layers(path)
    text = settings_text(effective_settings(layered, load_spec(path)), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.split().count("word") == 20 or width == 30
    assert text.count("v") >= 70 or width == 30
    assert long in text.replace("\n", "")
    assert ("characters)" in text) == (width in (60, 80))


def test_config_shows_a_file_elsewhere_by_its_whole_path(monkeypatch: pytest.MonkeyPatch) -> None:
    write("spec/sweep.yaml", "command: e\n")
    user_config("project: P\n")
    write("deep/er/in/x", "")
    spec = Path("spec/sweep.yaml").absolute()
    monkeypatch.chdir("deep/er/in")
    found = config_lines(str(spec), "--set", "name=n")
    assert found["project"] == ("P", "~/.config/osgbatch/config.yaml:1")
    assert ".." not in found["command"][1]
    assert found["command"][1].startswith(("/", "~"))
    monkeypatch.chdir(spec.parents[1])
    assert config_lines(str(spec))["command"] == ("e", "spec/sweep.yaml:1")


def test_config_of_a_spec_with_mistakes_shows_it_and_tells_them() -> None:
    write("sweep.yaml", "command: e\nresources: {memory: 5, cpus: 2}\n")
    done = CliRunner().invoke(command_line(), ["config", "sweep.yaml"])
    assert isinstance(done.exception, OsgbatchError)
    assert done.exception.exit_code == 2
    assert "resources.memory: a size needs a unit" in str(done.exception)
    assert "resources.cpus" in done.output


def test_config_shows_the_first_line_of_a_script_and_the_start_of_a_long_list() -> None:
    write("sweep.yaml", f"script: |\n  set -x\n  ls\nsweep: {{x: {[*range(20_000)]}}}\n")
    found = config_lines("sweep.yaml")
    assert found["script"] == ("set -x ...", "sweep.yaml:1")
    assert found["sweep.x"][0].startswith("[0, 1, 2, 3")
    done = CliRunner().invoke(command_line(), ["config", "sweep.yaml"], env={"COLUMNS": "100"})
    assert " ...]" in done.output


def test_config_for_other_programs() -> None:
    write("sweep.yaml", "command: e\nsweep: {x: [1, 2.50]}\n")
    done = CliRunner().invoke(command_line(), ["config", "sweep.yaml", "--json", "--set", "name=n"])
    found = json.loads(done.output)
    assert {"setting": "name", "value": "n", "from": "--set", "line": None} in found["settings"]
    assert {"setting": "sweep.x", "value": [1, 2.5], "from": "sweep.yaml", "line": 2} in (
        found["settings"]
    )
    assert [layer["kind"] for layer in found["layers"]] == ["spec", "set"]


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text()


def block(head: str) -> str:
    """A fenced block of docs/settings.md."""
    return PAGE.split(f"```{head}\n", 1)[1].split("```", 1)[0]


def test_a_mistake_in_the_defaults_of_a_class_is_told_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teachers = write("teacher/class.yaml", "resources:\n  memroy: 2 GB\n").absolute()
    monkeypatch.setenv("OSGBATCH_DEFAULTS", str(teachers))
    write("sweep.yaml", "command: sh hello.sh\n")
    done = CliRunner().invoke(command_line(), ["check", "sweep.yaml"])
    told = str(done.exception)
    assert told.startswith(f'{teachers}:2:3: unknown key "memroy" in resources; did you mean "mem')


def test_the_pages_profile_is_read_whole() -> None:
    write("mypool.yaml", block("yaml mypool.yaml"))
    layered = read("command: e\nprofile: ./mypool.yaml\n")
    assert layered.profile.longest_s == 72_000
    assert layered.document.data["project"] == "our-project"


def test_the_settings_on_the_page_can_be_given() -> None:
    write(
        "sweep.yaml",
        "command: e\ngather: g.py\nsweep: {x: {random: {uniform: [0, 1], n: 9, seed: 1}}}\n",
    )
    said = re.findall(r"--set (?:'([^']+)'|([a-z][^\s`']*))", PAGE)
    given = [quoted or plain for quoted, plain in said]
    assert len(given) > 8
    for setting in given:
        load_spec(Path("sweep.yaml"), [setting])


def test_the_page_names_all_profiles() -> None:
    for name in profiles.known_profiles():
        assert f"| `{name}` | {profiles.known_profile(name).title} |" in PAGE


def test_settings_reach_check_plan_and_render() -> None:
    write("sweep.yaml", "command: echo {x}\nsweep: {x: [1, 2]}\n")
    run = CliRunner().invoke
    assert (
        "3 tasks" in run(command_line(), ["check", "sweep.yaml", "--set", "sweep.x=[1,2,3]"]).output
    )
    planned = json.loads(
        run(command_line(), ["plan", "sweep.yaml", "--json", "--set", "name=n"]).output
    )
    assert planned["name"] == "n"
    done = run(
        command_line(), ["render", "sweep.yaml", "--out", "b", "--set", "resources.memory=4GB"]
    )
    assert done.exception is None
    assert "4096" in Path("b/rounds/001/job.submit").read_text()
    assert "resources: {memory: 4GB}" in Path("b/sweep.yaml").read_text()


@pytest.mark.parametrize(
    ("weak", "strong"),
    [("Rank", "rank"), ("rank", "RANK"), ("MY.Size", "+size"), ("+Size", "my.SIZE"),
     ("job_prio", "JobPrio")],
)  # fmt: skip
@pytest.mark.parametrize("more", ["", "  nice_user: true\n  hold_kill_sig: 9\n  buffer_size: 1\n"])
def test_a_submit_command_is_one_in_all_its_spellings(weak: str, strong: str, more: str) -> None:
    write("base.yaml", f"submit:\n  {weak}: '1'\n  priority: 5\n{more}")
    text = f"extends: base.yaml\ncommand: echo\nsubmit: {{{strong}: '2'}}\n"
    submit = data(text)["submit"]
    assert submit.pop(strong) == "2"
    assert submit.pop("priority") == 5
    assert weak not in submit
    assert (strong, "2") in load_spec(Path("sweep.yaml")).submit
    assert data(text, f"submit.{weak}=3")["submit"][weak] == 3


@pytest.mark.parametrize(
    ("setting", "fix"),
    [
        ("sweep.name=Ada,Grace, Lise", "Write --set 'sweep.name=[Ada, Grace, Lise]', or {files: "),
        ("sweep.name=data/*.npy", "Write --set 'sweep.name={files: data/*.npy}'.\n"),
        ("sweep.nams=its,the 'x'", """Write --set 'sweep.nams=[its, the '"'"'x'"'"']', or"""),
        ("sweep.sampel=3", 'Did you mean "sample"?'),
    ],
)
def test_values_that_are_no_list_are_shown_as_they_should_be_typed(setting: str, fix: str) -> None:
    path = write("sweep.yaml", "command: echo {name}\nsweep: {name: [a]}\n")
    with pytest.raises(OsgbatchError) as caught:
        load_spec(path, [setting])
    assert fix in f"{caught.value}\n"
