"""An image is looked at before it is sent, and a definition file is built once."""

from __future__ import annotations

import platform
import struct
import tarfile
import tempfile
from pathlib import Path

import pytest

from osgbatch.errors import OsgbatchError, PackingError, SpecError
from osgbatch.packing.container import architecture, image_size, packed_image
from osgbatch.packing.container_build import built_image, failure_lines
from osgbatch.spec_model import Environment, Place, UserPath
from osgbatch.submission import rendered
from osgbatch.submission.planned import plan_sweep

CODES = {"x86_64": b"02\0", "aarch64": b"04\0"}
HERE = platform.machine()
OTHER = "aarch64" if HERE != "aarch64" else "x86_64"

APPTAINER = """\
#!/bin/sh
echo "$@" >>"{log}"
[ ! -e "{folder}/broken" ] || {{ echo 'FATAL: no such base' >&2; exit 255; }}
if [ -e "{folder}/old" ] && [ "$2" != --ignore-fakeroot-command ]; then
    echo 'INFO: If error was from fakeroot, try --ignore-fakeroot-command and' >&2; exit 255
fi
[ "$2" != --ignore-fakeroot-command ] || shift
cp "{folder}/made.sif" "$2"
echo "$TMPDIR|$APPTAINER_TMPDIR|$SINGULARITY_TMPDIR" >"{folder}/tmp"
[ ! -e "{folder}/meanwhile" ] || . "{folder}/meanwhile"
"""


def image(machine: str = HERE, data: bytes = b"data") -> bytes:
    """A SIF file with nothing in it but its header and some data."""
    head = struct.pack(
        "<32s10s3s3s16s8q",
        b"#!/usr/bin/env run-singularity\n",
        b"SIF_MAGIC",
        b"01",
        CODES[machine],
        bytes(16),
        *(0, 0, 0, 0, 128, 0, 128, len(data)),
    )
    return head + data


def wanted(text: str) -> Environment:
    source = f"environment: {text}"
    return Environment("container", UserPath(text, Place("sweep.yaml", 3, 14, source)))


def refused(folder: Path, text: str, *arch: str) -> str:
    with pytest.raises(SpecError) as caught:
        packed_image(wanted(text), folder, folder / "cache", pytest.fail, arch)
    assert not (folder / "cache").exists() or not list((folder / "cache").rglob("*.sif"))
    return str(caught.value)


@pytest.fixture
def apptainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of this name, which notes how it was called; returns its folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "apptainer"
    program.write_text(APPTAINER.format(log=folder / "log", folder=folder))
    program.chmod(0o755)
    (folder / "made.sif").write_bytes(image())
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_an_image_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "my image.sif").write_bytes(image())
    found = packed_image(wanted("my image.sif"), tmp_path, tmp_path / "cache", pytest.fail)
    assert found is not None
    assert found.path == tmp_path / "my image.sif"
    assert (found.size, found.unpacked_size) == (132, 0)
    assert image_size(wanted("my image.sif"), tmp_path, tmp_path) == 132
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "text",
    [
        "osdf:///ospool/ap40/data/ada/x.sif",
        "/cvmfs/singularity.x/y:latest",
    ],
)
def test_what_execution_points_get_themselves_passes_by(tmp_path: Path, text: str) -> None:
    assert packed_image(wanted(text), tmp_path, tmp_path / "cache", pytest.fail) is None
    assert image_size(wanted(text), tmp_path, tmp_path) is None


def test_an_image_whose_registry_is_not_there_is_told_of(tmp_path: Path) -> None:
    said: list[str] = []
    image = "docker://127.0.0.1:9/python:3.12"
    assert packed_image(wanted(image), tmp_path, tmp_path / "cache", said.append) is None
    assert len(said) == 1 and said[0].startswith(f"note: {image} could not be checked: ")
    assert image_size(wanted(image), tmp_path, tmp_path) is None


def test_a_build_that_fails_shows_its_reason_first() -> None:
    stderr = "INFO: Starting build\n+ make\nmake: no rule\nWARNING: x\nFATAL: %post failed\n"
    assert failure_lines(stderr, "compiling\n") == [
        "FATAL: %post failed",
        "+ make",
        "make: no rule",
    ]
    assert failure_lines("INFO: a\nFATAL: b\n", "c\n") == ["FATAL: b", "c"]
    assert failure_lines("INFO: a\n", "") == ["INFO: a"]


def test_a_file_that_is_no_image_is_refused_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_text("<html>404 not found</html>" * 20)
    said = refused(tmp_path, "x.sif")
    assert said.startswith('sweep.yaml:3:14: "x.sif" is no container image\n')
    assert "^^^^^" in said


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_bytes(b"")
    assert "is no container image" in refused(tmp_path, "x.sif")


def test_half_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_bytes(image(data=bytes(1000))[:500])
    assert "is not all of an image: it has 500 bytes of 1128" in refused(tmp_path, "x.sif")


def test_a_definition_under_another_name_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_text("Bootstrap: docker\nFrom: debian:12\n" + "# more\n" * 40)
    assert "name it x.def" in refused(tmp_path, "x.sif")


def test_a_bare_file_system_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_bytes(b"hsqs" + bytes(600))
    assert "apptainer build new.sif x.sif" in refused(tmp_path, "x.sif")


@pytest.mark.parametrize(
    ("member", "agent"), [("oci-layout", "oci-archive"), ("manifest.json", "docker-archive")]
)
def test_an_archive_of_docker_is_told_apart(tmp_path: Path, member: str, agent: str) -> None:
    with tarfile.open(tmp_path / "x.sif", "w") as archive:
        archive.addfile(tarfile.TarInfo(member))
    assert f"apptainer build new.sif {agent}:x.sif" in refused(tmp_path, "x.sif")


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    assert '"x.sif" does not exist' in refused(tmp_path, "x.sif")
    assert '"x.def" cannot be read: No such file' in refused(tmp_path, "x.def")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    assert "apptainer build image.sif root/" in refused(tmp_path, "root/")
    (tmp_path / "root/oci-layout").touch()
    assert "apptainer build image.sif oci:root/" in refused(tmp_path, "root/")


def test_an_image_for_another_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_bytes(image(OTHER))
    said = refused(tmp_path, "x.sif")
    assert f"is an image for {OTHER}; the jobs run on {HERE}" in said
    assert f"requirements: {{arch: {OTHER}}}" in said


def test_an_architecture_that_the_sweep_asks_for_will_do(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_bytes(image("aarch64"))
    assert architecture(tmp_path / "x.sif") == "aarch64"
    for name in ("aarch64", "arm64", "AARCH64"):
        assert packed_image(wanted("x.sif"), tmp_path, tmp_path, pytest.fail, (name,))
    assert "is an image for aarch64" in refused(tmp_path, "x.sif", "x86_64")
    said = refused(tmp_path, "x.sif", "x86_64", "aarch64")
    assert "the jobs run on x86_64, aarch64" in said, "some would not start"
    assert "requirements: {arch: aarch64}" in said


def test_a_definition_is_built_once(tmp_path: Path, apptainer: Path) -> None:
    (tmp_path / "x.def").write_text("Bootstrap: docker\nFrom: debian@sha256:00\n")
    said: list[str] = []
    assert image_size(wanted("x.def"), tmp_path, tmp_path / "cache") is None
    first = packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", said.append)
    again = packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", said.append)
    assert first == again
    assert first is not None
    assert first.path.read_bytes() == image()
    assert said == ["building an image from x.def with apptainer"]
    assert (apptainer / "log").read_text().count("build ") == 1
    assert image_size(wanted("x.def"), tmp_path, tmp_path / "cache") == 132


def test_what_may_have_changed_unseen_since_an_image_was_built_is_told(
    tmp_path: Path, apptainer: Path
) -> None:
    (tmp_path / "x.def").write_text("Bootstrap: docker\nFrom: debian:12\n%setup\n  date\n")
    said: list[str] = []
    packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", lambda text: None)
    packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", said.append)
    (remark,) = said
    assert "; debian:12, %setup may have changed since: " in remark
    assert "`osgbatch pack container x.def --refresh`" in remark


def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path: Path, apptainer: Path) -> None:
    (tmp_path / "x.def").write_text("Bootstrap: docker\nFrom: debian:12\n")
    (apptainer / "broken").touch()
    with pytest.raises(PackingError, match="FATAL: no such base") as caught:
        packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", lambda text: None)
    assert caught.value.where == str(tmp_path / "x.def")
    assert not list((tmp_path / "cache").rglob("*.sif"))
    assert not list((tmp_path / "cache").rglob(".build-*"))
    (apptainer / "broken").unlink()
    assert packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", lambda text: None)


def test_a_build_is_tried_without_fakeroot_where_that_does_not_start(
    tmp_path: Path, apptainer: Path
) -> None:
    (tmp_path / "x.def").write_text("Bootstrap: docker\nFrom: debian:8\n%post\nls\n")
    (apptainer / "old").touch()
    assert packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", lambda text: None)
    assert (apptainer / "log").read_text().count("build ") == 2


def test_without_apptainer_a_definition_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "x.def").write_text("Bootstrap: docker\nFrom: debian:12\n")
    said = refused(tmp_path, "x.def")
    assert "must be built into an image, and there is no apptainer here" in said
    assert "apptainer build image.sif x.def" in said


def test_a_reference_is_built_once_and_again_when_asked(tmp_path: Path, apptainer: Path) -> None:
    cache, said = tmp_path / "cache", list[str]()
    first = built_image("docker://python:3.12", tmp_path, cache, said.append)
    assert built_image("docker://python:3.12", tmp_path, cache, said.append) == first
    assert first.path.read_bytes() == image()
    building, remark = said
    assert building == "building an image from docker://python:3.12 with apptainer"
    assert remark.endswith("; --refresh takes what the registry has now")
    built_image("docker://python:3.12", tmp_path, cache, said.append, refresh=True)
    built_image("docker://python:3.13", tmp_path, cache, said.append)
    assert (apptainer / "log").read_text().count("build ") == 3


def test_without_apptainer_a_reference_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OsgbatchError) as caught:
        built_image("docker://a", tmp_path, tmp_path / "cache", pytest.fail)
    said = str(caught.value)
    assert said.startswith('"docker://a" must be built into an image, and there is no apptainer')


def test_a_reference_that_cannot_be_had_is_told_in_apptainers_words(
    tmp_path: Path, apptainer: Path
) -> None:
    (apptainer / "broken").touch()
    with pytest.raises(PackingError, match=r"cannot build docker://a:\n.*FATAL: no such base"):
        built_image("docker://a", tmp_path, tmp_path / "cache", lambda text: None)
    assert not list((tmp_path / "cache").rglob("*.sif"))


def test_a_definition_that_is_edited_during_its_build_is_not_kept(
    tmp_path: Path, apptainer: Path
) -> None:
    """The image would be kept for the text of before, and taken when that is put back."""
    definition = tmp_path / "x.def"
    definition.write_text("Bootstrap: docker\nFrom: debian@sha256:00\n")
    (apptainer / "meanwhile").write_text(f"echo '# more' >>'{definition}'\n")
    with pytest.raises(PackingError, match="was changed while its image was built") as caught:
        packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", lambda text: None)
    assert caught.value.where == str(definition)
    assert not list((tmp_path / "cache").rglob("*.sif"))
    (apptainer / "meanwhile").unlink()
    assert packed_image(wanted("x.def"), tmp_path, tmp_path / "cache", lambda text: None)


@pytest.mark.parametrize("chosen", [{}, {"TMPDIR": "/chosen"}, {"APPTAINER_TMPDIR": "/other"}])
def test_the_users_choice_of_a_temporary_folder_stays(
    tmp_path: Path, apptainer: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]
) -> None:
    for name in ("TMPDIR", "APPTAINER_TMPDIR", "SINGULARITY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    tempfile.gettempdir()
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    built_image("docker://a", tmp_path, tmp_path / "cache", lambda text: None)
    usual, ours, old = (apptainer / "tmp").read_text().strip().split("|")
    if chosen.get("TMPDIR"):
        assert {usual, ours, old} == {"/chosen"}
    else:
        assert usual == old and usual.startswith(f"{tmp_path}/cache/")
        assert ours == chosen.get("APPTAINER_TMPDIR", usual)


def test_an_image_that_is_replaced_before_it_is_copied_is_not_sent(tmp_path: Path) -> None:
    """Its name would have the hash of another content, which a later batch takes it for."""
    (tmp_path / "x.sif").write_bytes(image())
    (tmp_path / "sweep.yaml").write_text("command: echo\nenvironment: x.sif\n")
    plan = plan_sweep(tmp_path / "sweep.yaml", None)
    found = packed_image(wanted("x.sif"), tmp_path, tmp_path / "cache", pytest.fail)
    (tmp_path / "x.sif").write_bytes(image(data=b"newer"))
    with pytest.raises(PackingError, match="was changed while it was copied") as caught:
        rendered.pack(plan, found, "", tmp_path)
    assert caught.value.where == str(tmp_path / "x.sif")
    found = packed_image(wanted("x.sif"), tmp_path, tmp_path / "cache", pytest.fail)
    (sent,) = [one for one in rendered.pack(plan, found, "", tmp_path) if one.kind == "container"]
    assert sent.path.read_bytes() == image(data=b"newer")
