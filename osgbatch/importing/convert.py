"""A submit file's settings to what a sweep.yaml says: its keys, notes, and what it cannot say."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from osgbatch.importing import words
from osgbatch.importing.macros import Macros, NotImported, Part, Variable
from osgbatch.importing.made import Converted, Input, Setting
from osgbatch.importing.parts import basename, below, filled, plain, shown, trimmed
from osgbatch.importing.resources import resources_of, retries_of
from osgbatch.importing.settings import DROPPED, REFUSED, UNIVERSES, says_nothing
from osgbatch.submit_language import known_command


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
        converter.kind_of_job, converter.program, converter.files, converter.outputs,
        converter.variables, converter.resources, converter.place, converter.retries,
        converter.moment, converter.people, converter.rest,
    ):  # fmt: skip
        step()
    return made


class _Converter:
    def __init__(
        self, values: Mapping[str, Setting], macros: Macros, made: Converted,
        jobs: Sequence[Mapping[str, str]],
    ) -> None:  # fmt: skip
        self.values = dict(values)
        self.macros = macros
        self.made = made
        self.jobs = jobs

    # --- values ----------------------------------------------------------------------------------

    def take(self, name: str) -> Setting | None:
        """A setting, which is then dealt with; None for one that is not there, or is empty."""
        found = self.values.pop(name, None)
        return found if found and found.value.strip() else None

    def lose(self, setting: Setting, why: str) -> None:
        told = f"line {setting.line}: {setting.key}: {why}"
        if told not in self.made.lost:
            self.made.lost.append(told)

    def parts(self, name: str) -> tuple[Part, ...]:
        found = self.take(name)
        if found is None:
            return ()
        try:
            return self.macros.parts(found.value.strip())
        except NotImported as error:
            self.lose(found, str(error))
            return ()

    def text(self, name: str) -> str:
        """A value that must be the same for all jobs."""
        found = self.take(name)
        return self.value(found) if found is not None else ""

    def value(self, setting: Setting) -> str:
        """The value of a setting that must be the same for all jobs; empty where it is not."""
        try:
            return self.macros.constant(setting.value.strip()).strip()
        except NotImported as error:
            self.lose(setting, str(error))
            return ""

    def flag(self, name: str, default: bool = False) -> bool:
        text = self.text(name).lower()
        return default if not text else text in ("true", "yes", "t", "y", "1")

    def note(self, text: str) -> None:
        if text and text not in self.made.notes:
            self.made.notes.append(text)

    def split(
        self,
        name: str,
        parts: tuple[Part, ...],
        split: Callable[[Sequence[Part]], list[words.Word]],
    ) -> list[words.Word]:
        """A value as words. HTCondor splits it after its macros are filled in: where a variable
        holds blanks or commas, the words that come of it are variables of their own.

        Raises NotImported when that makes different numbers of words.
        """
        template = split(parts)
        if plain(parts):
            return template
        own = [[self._filled(word, job) for word in template] for job in self.jobs]
        real = [
            ["".join(map(str, word)) for word in split((self._filled(parts, job),))]
            for job in self.jobs
        ]
        if own == real:
            return template
        if len(set(map(len, real))) > 1:
            raise NotImported(
                "the values of its variables hold blanks, commas or quotes, so that jobs have "
                "different numbers of words"
            )
        found: list[words.Word] = []
        for place, cells in enumerate(zip(*real, strict=True)):
            before = template[place] if len(template) == len(real[0]) else None
            if len(set(cells)) == 1:
                found.append((cells[0],))
            elif before and all(mine[place] == cell for mine, cell in zip(own, cells, strict=True)):
                found.append(before)
            else:
                made = Variable(f"{name}{place + 1}")
                self.made.cells[made] = list(cells)
                found.append((made,))
        return found

    def _filled(self, word: Sequence[Part], job: Mapping[str, str]) -> str:
        return "".join(filled(part, job, self.macros.evaluate) for part in word)

    # --- the steps -------------------------------------------------------------------------------

    def kind_of_job(self) -> None:
        setting = self.values.get("universe")
        universe = self.text("universe").lower() or "vanilla"
        if setting and universe not in UNIVERSES:
            self.lose(setting, f"osgbatch makes no jobs of the {universe} universe")
        image = self.text("containerimage") or self.text("+singularityimage").strip('"')
        docker = self.text("dockerimage")
        if docker and not image:
            image = docker if "://" in docker else f"docker://{docker}"
        if image:
            plain = image.strip('"')
            self.made.settings["environment"] = {"container": plain}
        setting = self.values.get("shouldtransferfiles")
        if setting and self.text("shouldtransferfiles").upper() == "NO":
            self.lose(setting, "the jobs use a file system that all machines share; osgbatch "
                      "always brings files, so name them in transfer_input_files")  # fmt: skip
        setting = self.values.get("getenv")
        if setting and self.text("getenv").lower() not in ("", "false"):
            self.lose(setting, "variables of this shell are not taken over: name in `environment` "
                      "those that the program needs")  # fmt: skip

    def program(self) -> None:
        made = self.made
        shell = self.take("shell")
        if shell is not None:
            try:
                made.shell = self.macros.constant(shell.value.strip())
            except NotImported as error:
                self.lose(shell, str(error))
        setting = self.values.get("executable")
        executable = self.text("executable")
        brought = self.flag("transferexecutable", default=True)
        if not executable and not made.shell:
            if setting is None:
                made.lost.append("no executable: nothing says what the jobs run")
            return
        if executable and brought:
            made.executable = executable
            name = posixpath.basename(executable)
            made.program.append((f"./{name}",))
            made.inputs.append(Input((executable,), (name,), whole=True))
        elif executable:
            made.program.append((executable,))
        setting = self.values.get("arguments")
        try:
            made.program += self.split("arg", self.parts("arguments"), words.arguments)
        except NotImported as error:
            if setting:
                self.lose(setting, str(error))
        stdin = self.parts("input")
        if stdin and stdin != ("/dev/null",):
            called = basename(trimmed(stdin))
            made.stdin = called
            made.inputs.append(self._input(trimmed(stdin), called))

    def files(self) -> None:
        made = self.made
        setting = self.values.get("transferinputfiles")
        keep = self.flag("preserverelativepaths")
        try:
            listed = self.split("input", self.parts("transferinputfiles"), words.comma_list)
            for entry in listed:
                self._add(entry, keep)
        except NotImported as error:
            if setting:
                self.lose(setting, str(error))
        initial = self.parts("initialdir")
        if initial and initial != (".",):
            made.inputs = [
                one if one.source == (made.executable,) and made.executable
                else Input(below(initial, one.source), one.name, one.whole and plain(initial))
                for one in made.inputs
            ]  # fmt: skip
            self.note("initialdir: inputs are taken from there; results come to results/<task>/")

    def _add(self, entry: words.Word, keep: bool) -> None:
        """An entry of transfer_input_files."""
        made = self.made
        first, last = entry[0], entry[-1]
        is_url = isinstance(first, str) and re.match(r"[a-z][a-z0-9+.-]*://", first) is not None
        if is_url and any(isinstance(part, str) and "?" in part for part in entry):
            raise NotImported(f"a URL with ?… is not fetched by osgbatch: {shown(entry)}")
        if not is_url and isinstance(last, str) and last.endswith("/") and not keep:
            raise NotImported(
                f"{shown(entry)}: with a / at its end what is in the folder is brought, without "
                "the folder: name the files, or the folder"
            )
        if not is_url and not plain(entry) and isinstance(first, Variable) and len(entry) == 1:
            name: words.Word = basename(entry)
        elif keep and not is_url and not str(first).startswith("/"):
            name = trimmed(entry)
        else:
            name = basename(trimmed(entry))
        made.inputs.append(self._input(entry if is_url else trimmed(entry), name))

    def _input(self, source: words.Word, name: words.Word) -> Input:
        is_url = isinstance(source[0], str) and "://" in source[0]
        return Input(source, name, whole=plain(source) and not is_url)

    def outputs(self) -> None:
        made = self.made
        setting = self.values.get("transferoutputfiles")
        told = setting is not None and bool(setting.value.strip())
        try:
            listed = [
                word for word in self.split("output", self.parts("transferoutputfiles"),
                                            words.comma_list)
                if word != ('""',)
            ]  # fmt: skip
        except NotImported as error:
            listed = []
            if setting:
                self.lose(setting, str(error))
        remapped = self._remaps()
        if not told:
            made.outputs = None
            for name in remapped:
                self.note(f"transfer_output_remaps: {shown(name)} lies in results/<task>/")
            return
        made.outputs = []
        for word in listed:
            if setting and isinstance(word[-1], str) and word[-1].endswith("/"):
                self.lose(setting, f"{shown(word)}: with a / at its end what is in the folder "
                          "comes back, without the folder: name it, or the files")  # fmt: skip
            made.outputs.append((trimmed(word), remapped.get(trimmed(word))))

    def _remaps(self) -> dict[words.Word, words.Word]:
        setting = self.values.get("transferoutputremaps")
        found: dict[words.Word, words.Word] = {}
        if setting is None or not setting.value.strip():
            self.values.pop("transferoutputremaps", None)
            return found
        text = setting.value.strip().strip('"')
        self.values.pop("transferoutputremaps")
        for entry in re.split(r"(?<!\\);", text):
            if not entry.strip():
                continue
            name, _, to = entry.partition("=")
            if "://" in to:
                self.lose(setting, f"{name.strip()} goes to a URL: with `outputs_to:` osgbatch "
                          "brings all outputs there, as one archive a job")  # fmt: skip
                continue
            try:
                made_name = self.macros.parts(name.strip())
                found[made_name] = self._without_job_ids(to.strip())
            except NotImported as error:
                self.lose(setting, str(error))
        return found

    def _without_job_ids(self, text: str) -> words.Word:
        """Where an output lies: the cluster's number is left out, since each batch has a folder."""
        # At the start of a name the separator behind it goes with it, elsewhere the one before it.
        id_ = r"\$\((?:cluster|clusterid)\)"
        starts = rf"(?:(?<=/)|^){id_}(?:[-_]|\.(?=\$))?"
        plain = re.sub(rf"{starts}|[-_.]?{id_}", "", text, flags=re.IGNORECASE)
        plain = re.sub(r"\$\(jobid\)", "$(ProcId)", plain, flags=re.IGNORECASE)
        return self.macros.parts(plain)

    def variables(self) -> None:
        setting = self.values.get("environment")
        try:
            parts = self.parts("environment")
            self.made.environment = found = words.environment(parts)
            for job in self.jobs if not plain(parts) else ():
                real = words.environment((self._filled(parts, job),))
                if [(key, (self._filled(word, job),)) for key, word in found] != [
                    (key, word or ("",)) for key, word in real
                ]:
                    raise NotImported("the value of a variable holds blanks, quotes or ;")
        except NotImported as error:
            if setting:
                self.lose(setting, str(error))

    def resources(self) -> None:
        resources_of(self, self.made.settings, self.note)

    def retries(self) -> None:
        retries_of(self, self.made.settings, self.note)

    def place(self) -> None:
        self.made.requirements = self.text("requirements")
        text = self.text("maxmaterialize")
        if re.fullmatch(r"\d+", text):
            self.made.settings["max_running"] = int(text)

    def moment(self) -> None:
        """When files come back: at the end; at an eviction only as a checkpoint."""
        setting = self.values.get("whentotransferoutput")
        if setting and self.text("whentotransferoutput").upper() == "ON_EXIT_OR_EVICT":
            if "checkpoint" in self.made.settings:
                self.note(f"{setting.key}: `checkpoint:` keeps the files of the state")
            else:
                self.lose(setting, "what an evicted job has made is not kept: write `checkpoint:` "
                          "with the files that it goes on from")  # fmt: skip
        elif setting and setting.value.strip():
            self.note(f"{setting.key}: {DROPPED['whentotransferoutput']}")

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
        for name, setting in self.values.items():
            if name in DROPPED:
                if DROPPED[name] and setting.value.strip():
                    self.note(f"{setting.key}: {DROPPED[name]}")
            elif name in REFUSED:
                if (
                    REFUSED[name]
                    and setting.value.strip()
                    and not says_nothing(name, setting.value)
                ):
                    made.lost.append(f"line {setting.line}: {REFUSED[name]}")
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
                    if "\n" in value:
                        self.lose(setting, "its value has several lines")
                    else:
                        made.own.append((own, value))


def _inside(settings: Mapping[str, object], key: str) -> Iterable[str]:
    found = settings.get(key)
    return found if isinstance(found, dict) else ()
