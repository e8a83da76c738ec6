"""A submit file's settings to what a sweep.yaml says: its keys, notes, and what it cannot say."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence

from osgbatch.importing import words
from osgbatch.importing.jobs import SHELL_CLUSTER
from osgbatch.importing.macros import CLUSTER, TOO_LATE, Macros, NotImported, Part, Variable
from osgbatch.importing.made import Converted, Input, Setting
from osgbatch.importing.parts import basename, plain, trimmed
from osgbatch.importing.resources import resources_of, retries_of
from osgbatch.importing.settings import DROPPED, PRINTED, REFUSED, UNIVERSES, says_nothing
from osgbatch.importing.transfer import input_of, inputs_of, outputs_of
from osgbatch.importing.values import Values
from osgbatch.submit_language import KNOWN_COMMANDS, known_command, one_name

_COMMANDS = {one_name(command): command for command in KNOWN_COMMANDS if "_" in command}
"""How a command is written, by its one name: PeriodicHold is periodic_hold, too."""
RUN_SCRIPT = "/.singularity.d/runscript"
"""What an image runs by itself, where Apptainer runs it."""
_OF_THE_MACHINE = ("/bin/", "/usr/", "/opt/")


def convert(
    settings: Sequence[Setting], macros: Macros, jobs: Sequence[Mapping[str, str]]
) -> Converted:
    """All that a file says of its jobs. jobs: the variables of each."""
    made = Converted()
    values: dict[str, Setting] = {}
    for one in settings:
        values[one.name] = one
    converter = _Converter(values, macros, made, jobs)
    for step in (
        converter.kind_of_job, converter.program, lambda: inputs_of(converter),
        lambda: outputs_of(converter), converter.variables, converter.resources, converter.place,
        converter.retries, converter.moment, converter.people, converter.rest,
    ):  # fmt: skip
        step()
    if any(
        Variable(CLUSTER) in word for word in (*made.program, *(w for _, w in made.environment))
    ):
        converter.note("$(Cluster): each job reads the number of its own cluster; a task that is "
                       "resubmitted is in another one")  # fmt: skip
    return made


class _Converter(Values):
    def kind_of_job(self) -> None:
        setting = self.values.get("universe")
        universe = self.text("universe").lower() or "vanilla"
        if setting and universe not in UNIVERSES:
            self.lose(setting, f"osgbatch makes no jobs of the {universe} universe")
        image = self.text("containerimage")
        older = self.text("+singularityimage").strip('"')
        docker = self.text("dockerimage")
        if docker and not image:
            image = docker if "://" in docker else f"docker://{docker}"
            self.note(
                "docker_image: as container_image, which HTCondor runs in Docker or Apptainer"
            )
        elif older and not image:
            image = older
            self.differ("+SingularityImage: as container_image, which is how HTCondor names it now")
        if image:
            self.made.settings["environment"] = {"container": image.strip('"')}
        setting = self.values.get("shouldtransferfiles")
        if setting and self.text("shouldtransferfiles").upper() in ("NO", "FALSE"):
            self.lose(setting, "the jobs use a file system that all machines share; osgbatch "
                      "always brings files, so name them in transfer_input_files")  # fmt: skip
        setting = self.values.get("getenv")
        if setting and self.text("getenv").lower() not in ("", "false"):
            why = "the variables of your shell do not travel with the tasks: write those that the "
            self.lose(setting, f"{why}program needs into `environment`, and delete this line")

    # --- what is run -----------------------------------------------------------------------------

    def program(self) -> None:
        made = self.made
        shell = self.take("shell")
        if shell is not None:
            try:
                made.shell = self.macros.constant(shell.value.strip())
            except NotImported as error:
                self.lose(shell, str(error))
        if not self._executable():
            return
        setting = self.values.get("arguments")
        try:
            made.program += self._arguments(self.parts("arguments", cluster=True))
        except NotImported as error:
            if setting:
                self.lose(setting, str(error))
        stdin = self.parts("input")
        if stdin and stdin != ("/dev/null",):
            called = basename(trimmed(stdin))
            made.stdin = called
            made.inputs.append(input_of(trimmed(stdin), called))

    def _executable(self) -> bool:
        """The program; false when there is nothing to run."""
        made = self.made
        setting = self.take("executable")
        brought = self.flag("transferexecutable", default=True)
        if setting is None:
            given = self.values.get("arguments")
            if "environment" in made.settings and given and given.value.strip():
                made.program.append((RUN_SCRIPT,))
                self.note("no executable: the image's own run script is given the arguments")
            elif "environment" in made.settings:
                self.note("no executable: the image's own run script is run")
            elif not made.shell:
                made.lost.append("no executable, or none named: nothing says what the jobs run")
                return False
            return True
        try:
            parts = trimmed(self.macros.parts(setting.value.strip()))
            if Variable(CLUSTER) in parts:
                raise NotImported(TOO_LATE.format("$(Cluster)"))
            name = basename(parts)
        except NotImported as error:
            self.lose(setting, str(error))
            return True
        if not brought:
            made.program.append(parts)
        elif plain(parts):
            made.executable = executable = "".join(map(str, parts))
            made.program.append((f"./{posixpath.basename(executable)}",))
            made.inputs.append(Input((executable,), (posixpath.basename(executable),), whole=True))
            if "environment" in made.settings and executable.startswith(_OF_THE_MACHINE):
                what = f"executable: {executable} of this machine is brought and run in the image"
                self.note(f"{what}, as before; with transfer_executable = false, the image's own")
        else:  # each job has a program of its own
            made.program.append(("./", *name))
            made.inputs.append(Input(parts, name, whole=False))
        return True

    def _arguments(self, parts: tuple[Part, ...]) -> list[words.Word]:
        """The words behind the program; notes those of which a task makes several, at blanks."""
        try:
            return self.split("arg", parts, words.arguments)
        except NotImported:
            if words.is_new(parts):
                raise
            template = words.arguments(parts)
            spread = {
                place for place, word in enumerate(template)
                if len(word) == 1 and isinstance(word[0], Variable)
                and any(self.filled(word, job).split() != [self.filled(word, job)]
                        for job in self.jobs)
            }  # fmt: skip
            for job in self.jobs:
                own: list[str] = []
                for place, word in enumerate(template):
                    text = self.filled(word, job)
                    own += text.split() if place in spread else [text]
                real = words.arguments((self.filled(parts, job),))
                if own != ["".join(map(str, word)) for word in real]:
                    raise
            self.made.spread = {place + len(self.made.program) for place in spread}
            return template

    def variables(self) -> None:
        setting = self.values.get("environment")
        try:
            parts = self.parts("environment", cluster=True)
            self.made.environment = found = words.environment(parts)
            self._named(found)
            for job in self.jobs if not plain(parts) else ():
                real = words.environment((self.filled(parts, job),))
                if [(key, (self.filled(word, job),)) for key, word in found] != [
                    (key, word or ("",)) for key, word in real
                ]:
                    raise NotImported("the value of a variable holds blanks, quotes or ;")
        except NotImported as error:
            if setting:
                self.lose(setting, str(error))

    def _named(self, found: Sequence[tuple[str, words.Word]]) -> None:
        """Raise NotImported for a variable that a shell cannot set, or that the script sets."""
        for name, _ in found:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise NotImported(f'"{name}" is no name of a variable: letters, digits and _')
        late = [*self.made.program, *(word for _, word in found)]
        if any(Variable(CLUSTER) in word for word in late) and any(
            name == SHELL_CLUSTER[1:] for name, _ in found
        ):
            raise NotImported("a variable of the name cluster is the script's own for $(Cluster)")

    # --- what it needs ---------------------------------------------------------------------------

    def resources(self) -> None:
        resources_of(self, self.made.settings, self.note)

    def retries(self) -> None:
        retries_of(self, self.made.settings, self.note)

    def place(self) -> None:
        self.made.requirements = self.text("requirements")
        text = self.text("maxmaterialize")
        if re.fullmatch(r"[0-9]+", text):
            self.made.settings["max_running"] = int(text)

    def moment(self) -> None:
        """When files come back: at the end; at an eviction only as a checkpoint."""
        setting = self.values.get("whentotransferoutput")
        when = self.text("whentotransferoutput").upper()
        if setting and when == "ON_EXIT_OR_EVICT":
            if self.made.outputs == []:
                return  # nothing comes back
            if "checkpoint" in self.made.settings:
                self.note(f"{setting.key}: `checkpoint:` keeps the files of the state")
            else:
                self.differ(f"{setting.key}: a task that is evicted starts again from nothing, not "
                            "from the files it had made; if it goes on from such files, name them "
                            "in `checkpoint:`")  # fmt: skip
        elif setting and when == "NEVER":
            self.differ(f"{setting.key}: what a task has made comes back all the same")
        elif setting and when == "ON_SUCCESS":
            self.differ(f"{setting.key}: what a task has made comes back also when it fails; it is "
                        "told of as failed, and not held")  # fmt: skip

    # --- the rest --------------------------------------------------------------------------------

    def people(self) -> None:
        made = self.made
        project = self.text("projectname") or self.text("+projectname").strip('"')
        if project:
            made.settings["project"] = project
        when = self.text("notification").lower()
        who = self.text("notifyuser")
        if when not in ("", "never", "0"):
            if who and when in ("complete", "error", "always"):
                made.settings["notify"] = {"email": who, "when": when}
            else:
                self.note(f"notification = {when}: `notify:` needs an address")
        self.text("jobdurationcategory")
        if "+jobdurationcategory" in self.values and "time" in _inside(made.settings, "resources"):
            self.text("+jobdurationcategory")
            self.note("+JobDurationCategory follows from resources.time")

    def rest(self) -> None:
        """What is left: dropped with a note, refused, or handed on in `submit:`."""
        made = self.made
        printed = [self.values[name].key for name in PRINTED if name in self.values]
        if printed:
            self.note(f"{', '.join(printed)}: there is one event log for the whole batch; what a "
                      "task prints lies with its results")  # fmt: skip
        dropped: dict[str, list[str]] = {}
        for name, setting in self.values.items():
            if name in PRINTED:
                continue
            if name in DROPPED:
                if DROPPED[name] and setting.value.strip():
                    dropped.setdefault(DROPPED[name], []).append(setting.key)
            elif name in REFUSED:
                if (
                    REFUSED[name]
                    and setting.value.strip()
                    and not says_nothing(name, setting.value)
                ):
                    self.lose(setting, REFUSED[name].partition(": ")[2])
            elif name == "+owner" and setting.value.strip().lower() == "undefined":
                continue  # as HTCondor does by itself
            elif (
                not setting.key.startswith("+")
                and not known_command(name)
                and not known_command(setting.key)
                and not setting.key.lower().startswith("my.")
            ):
                continue  # a macro: where it is used, it is filled in
            elif setting.value.strip():
                try:
                    value = self.macros.constant(setting.value.strip())
                except NotImported as error:
                    self.lose(setting, str(error))
                else:
                    own = re.sub(r"^my\.", "+", setting.key, flags=re.IGNORECASE)
                    own = _COMMANDS.get(name, own)
                    if "\n" in value:
                        self.lose(setting, "its value has several lines")
                    else:
                        made.own.append((own, value))
        for told, keys in dropped.items():
            self.note(f"{', '.join(keys)}: {told}")


def _inside(settings: Mapping[str, object], key: str) -> Iterable[str]:
    found = settings.get(key)
    return found if isinstance(found, dict) else ()
