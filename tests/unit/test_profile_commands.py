"""`osgbatch profile`: what is known of each pool, which one holds here, one's own by a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from osgbatch.cli.app import command_line
from osgbatch.errors import OsgbatchError, SpecErrors
from osgbatch.spec import profiles
from osgbatch.spec.profile_facts import MEANINGS, facts_of, profile_yaml
from osgbatch.spec.profiles import PoolProfile
from osgbatch.spec_model import Profile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"
BEGIN, END = "<!-- keys -->\n", "<!-- end of keys -->\n"

ODD = """\
title: "our: pool # 1"
home: "~/x: y"
longest: 90min
quotas: {home: "sh -c 'echo 1'"}
projects: "none"
defaults: {project: 'a, b', resources: {memory: 2 GB}, environment_variables: {A: 'x: 1'}}
"""


def keys_table() -> str:
    """The table of keys, for the page."""
    cells = [f"| `{key}` | {meaning.replace('|', '/')} |" for key, meaning in MEANINGS.items()]
    return "\n".join(["| key | |", "|---|---|", *cells])


def profile(*words: str) -> str:
    """What `osgbatch profile` prints."""
    done = CliRunner().invoke(command_line(["profile_commands"]), ["profile", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def without_places(found: PoolProfile) -> tuple[object, ...]:
    """What two profiles with the same content share."""
    facts: Profile = replace(found.facts, name="", stash=replace(found.facts.stash, place=None))
    return facts, found.title, found.hosts, found.projects, found.document.data


@pytest.fixture(autouse=True)
def on_a_laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OSGBATCH_PROFILE", raising=False)
    monkeypatch.setattr(profiles, "host_names", lambda: ("laptop",))


def test_every_key_is_explained_and_none_else() -> None:
    assert list(profiles.known_profile("generic").whole.data) == list(MEANINGS)
    assert PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip() == keys_table(), (
        "run tests/unit/test_profile_commands.py"
    )


@pytest.mark.parametrize("name", profiles.known_profiles())
def test_a_copy_says_the_same(name: str) -> None:
    printed = profile("show", name, "--yaml")
    Path("mine.yaml").write_text(printed)
    mine = profiles.profile_file(Path("mine.yaml"), "mine.yaml")
    assert without_places(mine) == without_places(profiles.known_profile(name))
    assert list(mine.whole.data) == list(MEANINGS)


def test_ones_own_is_copied_with_what_needs_quotes() -> None:
    Path("odd.yaml").write_text(ODD)
    odd = profiles.profile_file(Path("odd.yaml"), "odd.yaml")
    Path("copy.yaml").write_text(profile_yaml(odd))
    assert without_places(profiles.profile_file(Path("copy.yaml"), "copy.yaml")) == (
        without_places(odd)
    )
    sources = {fact.key: fact.source for fact in facts_of(odd)}
    assert sources["home"] == "odd.yaml:2"
    assert sources["avoid"] == "default"


def test_which_holds_here_and_by_what(monkeypatch: pytest.MonkeyPatch) -> None:
    def here() -> tuple[str, str]:
        found = json.loads(profile("ls", "--json"))
        (one,) = [one["name"] for one in found["profiles"] if one["here"]]
        return one, found["chosen_by"]

    assert here() == ("generic", "default: no profile knows this host")
    monkeypatch.setattr(profiles, "host_names", lambda: ("ap43", "ap43.uw.osg-htc.org"))
    assert here() == ("ospool", "the host name ap43.uw.osg-htc.org")
    monkeypatch.setenv("OSGBATCH_PROFILE", "chtc")
    assert here() == ("chtc", "$OSGBATCH_PROFILE")
    Path("config/osgbatch").mkdir(parents=True)
    Path("config/osgbatch/config.yaml").write_text("tags: [x]\nprofile: ./lab.yaml\n")
    Path("config/osgbatch/lab.yaml").write_text("title: Our lab\n")
    name, by = here()
    assert name == "lab"
    assert by.endswith("config/osgbatch/config.yaml:2")
    assert "Our lab" in profile("ls")
    assert profile("show").startswith("lab: Our lab, by\n  /")


def test_mistakes_are_told_with_their_lines() -> None:
    Path("bad.yaml").write_text("title: x\nmany_jobs: -1\nhostz: []\n")
    with pytest.raises(SpecErrors) as caught:
        profile("show", "./bad.yaml")
    assert "bad.yaml:2:12: many_jobs" in str(caught.value)
    assert 'did you mean "hosts"' in str(caught.value)
    with pytest.raises(OsgbatchError, match='did you mean "ospool"'):
        profile("show", "opsool")
    Path("mypool").write_text("title: x\n")
    with pytest.raises(OsgbatchError) as caught_name:
        profile("show", "mypool")
    assert "./mypool" in caught_name.value.fix


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for name in profiles.known_profiles():
        lines = profile("show", name).splitlines()
        # A pattern of host names stays in one piece.
        assert all(len(line) <= width or "hosts" in line or "osg-htc" in line for line in lines)
    assert max(map(len, profile("ls").splitlines())) <= max(width, 65)


if __name__ == "__main__":
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + keys_table() + "\n\n" + END + rest.partition(END)[2])
