"""The settings of a submit file, taken one by one, and where what is found of them goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from osgbatch.importing import words
from osgbatch.importing.macros import CLUSTER, TOO_LATE, Macros, NotImported, Part, Variable
from osgbatch.importing.made import Converted, Setting
from osgbatch.importing.parts import filled, plain


class Values:
    """The settings that nothing has dealt with yet. jobs: the variables of each job."""

    def __init__(
        self,
        values: Mapping[str, Setting],
        macros: Macros,
        made: Converted,
        jobs: Sequence[Mapping[str, str]],
    ) -> None:
        self.values = dict(values)
        self.macros = macros
        self.made = made
        self.jobs = jobs

    # --- what is told ----------------------------------------------------------------------------

    def lose(self, setting: Setting, why: str) -> None:
        """Tell what a sweep cannot say."""
        _add(self.made.lost, f"{setting.at}: {why}")
        self.made.lost_lines.add(setting.line)

    def differ(self, text: str) -> None:
        """Tell what is otherwise in the sweep's jobs, and matters little."""
        _add(self.made.differs, text)

    def note(self, text: str) -> None:
        """Tell what osgbatch does in place of what the file says."""
        _add(self.made.notes, text)

    # --- one setting -----------------------------------------------------------------------------

    def take(self, name: str) -> Setting | None:
        """A setting, which is then dealt with; None for one that is not there, or is empty."""
        found = self.values.pop(name, None)
        return found if found and found.value.strip() else None

    def parts(self, name: str, cluster: bool = False) -> tuple[Part, ...]:
        """A value that may differ between jobs. cluster: also by the number of their cluster."""
        found = self.take(name)
        if found is None:
            return ()
        try:
            parts = self.macros.parts(found.value.strip())
            if not cluster and Variable(CLUSTER) in parts:
                raise NotImported(TOO_LATE.format("$(Cluster)"))
        except NotImported as error:
            self.lose(found, str(error))
            return ()
        return parts

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
        """A value that is true or false."""
        text = self.text(name).lower()
        return default if not text else text in ("true", "yes", "t", "y", "1")

    # --- lists of words --------------------------------------------------------------------------

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
        own = [[self.filled(word, job) for word in template] for job in self.jobs]
        real = [
            ["".join(map(str, word)) for word in split((self.filled(parts, job),))]
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
            elif list(cells) == [job["procid"] for job in self.jobs]:
                found.append((Variable("procid"),))
            else:
                made = Variable(f"{name}{place + 1}")
                self.made.cells[made] = list(cells)
                found.append((made,))
        return found

    def filled(self, word: Sequence[Part], job: Mapping[str, str]) -> str:
        """A word for one job."""
        return "".join(filled(part, job, self.macros.evaluate) for part in word)


def _add(found: list[str], text: str) -> None:
    if text and text not in found:
        found.append(text)
