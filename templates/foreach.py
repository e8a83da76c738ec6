"""Runs a script of scatter/gather: `foreach.py PHASE key=value...`, on the execution point.

It needs Python 3.6 and nothing else, NumPy only where arrays are. The script has three functions:

    get_foreach_args(*args) -> {"elements": [...], "extra_args": [...]}
    foreach(element, *extra_args) -> a result
    gather(results, *extra_args)          # the results in the order of the elements

PHASE: scatter, foreach or gather. Values are percent-encoded, as in URLs. Keys of all phases:
script, scatter, foreach, gather (the names of the functions), pickle (auto, always, never: for
values that neither JSON nor NumPy keeps exactly), gathered (the same, for what gather reads). Of
scatter: arg (repeated, in order), batch (elements of a task; 0: as many as fit), seconds (of one
element; 0: not known). Of foreach: elements, extra (files that scatter has made), first, number (of
the elements). Of gather:
results (a folder, repeated: what is below it), extra, count, partial (0 or 1).

All that is kept of values lies in files of records, one after the other: a line of JSON with the
element's index and the size in bytes of its value, which osgbatch_values.py, beside this file,
writes and reads. What a phase keeps is in outputs/, and outputs/complete is written last of all.
"""

import collections.abc
import contextlib
import importlib.util
import inspect
import json
import os
import pickle
import re
import shutil
import sys
import traceback
import urllib.parse


def beside(name):
    """A module that was brought beside this file, which may be a link to where it lies else."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


values = beside("osgbatch_values")
HERE = os.getcwd()
OUTPUTS = "outputs"
RECORDS = ".values"
RESULTS = "results" + RECORDS
COMPLETE = "complete"
TOLD = "elements.txt"
FAILED_FILES = "failed_files.txt"
OURS = frozenset(os.path.join(OUTPUTS, name) for name in (RESULTS, TOLD, COMPLETE, FAILED_FILES))
MOST_TASKS = 1000
TASK_S = 3600
LIST_BYTES = 16 << 20
"""Results that take less than this on disk are given to gather as a true list."""
PROTOCOL = 4  # the newest that Python 3.6 knows
RUN_BY_ITSELF = (".rprofile", ".renviron", ".rdata")
"""What R runs or loads when it is started in the folder where it lies."""
CODE = re.compile(r"\.(py[wcod]?|pth|egg-link|so)$|\.so\.", re.IGNORECASE)
"""Names of files of which an import, in the folder where they lie, makes code."""


class Refused(Exception):
    """What the user can do something about, in words."""


class Asked:
    """The words of the command line. script, scatter, ...: see the top of this file."""

    def __init__(self, words):
        self.values = {}
        for word in words:
            key, _, value = word.partition("=")
            value = urllib.parse.unquote(value, errors="surrogateescape")
            self.values.setdefault(key, []).append(value)

    def all(self, key):
        return self.values.get(key, [])

    def one(self, key, default=""):
        return self.values.get(key, [default])[-1]

    def gathered(self):
        """What may be a pickle of what gather reads."""
        return self.one("gathered", self.one("pickle", "auto"))

    def number(self, key):
        return int(self.one(key, "0"))


def main(phase, *words):
    asked = Asked(words)
    phases = {"scatter": scatter, "foreach": foreach, "gather": gather}
    try:
        os.makedirs(OUTPUTS, exist_ok=True)
        phases[phase](asked)
        with open(os.path.join(OUTPUTS, COMPLETE), "w", encoding="ascii") as file:
            file.write(phase + "\n")
    except Refused as error:
        say(f"osgbatch: {error}")
        return 1
    except SystemExit as error:
        flush()
        if error.code in (0, None):
            say(f"osgbatch: the script ended itself (sys.exit) in {phase}")
            return 1
        if not isinstance(error.code, int):
            say(str(error.code))
            return 1
        return error.code
    except Exception:
        flush()
        sys.stderr.write(told_exception())
        return 1
    flush()
    return 0


def say(text):
    flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def flush():
    """What the script printed comes before the message about it."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()


# ---- the phases -----------------------------------------------------------------------------


def scatter(asked):
    name = asked.one("scatter")
    function = function_of(asked, name)
    given = function(*asked.all("arg"))
    if not isinstance(given, collections.abc.Mapping) or "elements" not in given:
        raise Refused(
            f'{name} should return {{"elements": [...], "extra_args": [...]}}, not {a(given)}'
            + (" without elements" if isinstance(given, collections.abc.Mapping) else "")
        )
    unknown = sorted(str(key) for key in given if key not in ("elements", "extra_args"))
    if unknown:
        raise Refused(f"{name} returned {', '.join(unknown)} besides elements and extra_args")
    elements, extra = given["elements"], given.get("extra_args")
    for what, value in (("elements", elements), ("extra_args", extra)):
        if isinstance(value, (str, bytes, collections.abc.Mapping)):
            raise Refused(f"{name}: {what} should be a list, not {a(value)}")
    try:
        elements = list(elements)
        extra = list(extra) if extra is not None else []
    except TypeError as error:
        raise Refused(f"{name}: elements and extra_args should be lists: {error}") from None
    size = asked.number("batch") or batch_size(len(elements), asked.number("seconds"))
    folder = os.path.join(OUTPUTS, "elements")
    os.makedirs(folder, exist_ok=True)
    kind = asked.one("pickle", "auto")
    with Writer(os.path.join(OUTPUTS, "extra" + RECORDS), asked.gathered()) as writer:
        for number, value in enumerate(extra):
            writer.write(number, value, f"extra_args[{number}]")
    lines = ["first,elements"]
    for start in range(0, max(1, len(elements)), size):
        chunk = elements[start : start + size]
        lines.append(f"{start},{len(chunk)}")
        with Writer(os.path.join(folder, f"{start}{RECORDS}"), kind) as writer:
            for number, value in enumerate(chunk, start):
                writer.write(number, value, f"element {number}")
    with open(os.path.join(OUTPUTS, "tasks.csv"), "w", encoding="ascii") as file:
        file.writelines(line + "\n" for line in lines)
    tasks = len(lines) - 1
    told = {"elements": len(elements), "tasks": tasks, "batch_size": size}
    with open(os.path.join(OUTPUTS, "foreach.json"), "w", encoding="ascii") as file:
        file.write(json.dumps(told) + "\n")
    say(f"osgbatch: {len(elements)} elements, in {tasks} tasks of up to {size}")


def batch_size(count, seconds):
    """How many elements a task runs: about an hour's, or as few as make a thousand tasks."""
    return max(1, -(-count // MOST_TASKS), min(count, TASK_S // seconds) if seconds else 1)


def foreach(asked):
    function = function_of(asked, asked.one("foreach"))
    extra = [value for _, value in read_all(asked.one("extra"), asked, "extra_args")]
    wants_index = takes(function, "element_index")
    failed, count = [], 0
    path = os.path.join(OUTPUTS, RESULTS)
    told = open(  # noqa: SIM115
        os.path.join(OUTPUTS, TOLD), "w", encoding="utf-8", errors="replace"
    )
    with told, Writer(path, asked.gathered()) as writer:
        for record in records(asked.one("elements")):
            index = record.index
            count += 1
            before = files_here()
            told.write(f"{index} ")
            told.flush()
            try:
                element = record.value(asked.one("pickle"), f"element {index}")
                given = {"element_index": index} if wants_index else {}
                result = function(element, *extra, **given)
                writer.write(index, result, f"the result of element {index}")
                told.write("ok\n")
            except (Exception, SystemExit) as error:
                failed.append(index)
                flush()
                say(f"osgbatch: element {index} failed:\n{told_error(error)}")
                told.write(f"failed {one_line(error)}\n")
                writer.write_error(index, told_error(error))
                tell_files(index, files_here() - before)
            told.flush()
    if count != asked.number("number"):
        raise Refused(f"of {asked.number('number')} elements {count} have arrived")
    if failed:
        names = ", ".join(map(str, failed[:20])) + (" ..." if len(failed) > 20 else "")
        elements = "1 element" if count == 1 else f"{count} elements"
        raise Refused(f"of {elements} {len(failed)} failed: {names}")


def files_here():
    """The files in the working folder, but for those that osgbatch keeps."""
    found = set()
    for folder, _, files in os.walk("."):
        found.update(os.path.normpath(os.path.join(folder, file)) for file in files)
    return found - OURS


def tell_files(index, made):
    """Note which files an element that failed has made: gather is not brought them."""
    if made:
        with open(os.path.join(OUTPUTS, FAILED_FILES), "a", encoding="ascii") as file:
            for name in sorted(made):
                file.write(f"{index} {urllib.parse.quote(os.fsencode(name))}\n")


def failed_files(task):
    """Which files of a task elements made that failed: the element of each, by its path."""
    found = {}
    path = os.path.join(task, OUTPUTS, FAILED_FILES)
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        for line in file:
            index, _, name = line.strip().partition(" ")
            found[urllib.parse.unquote(name, errors="surrogateescape")] = index
    return found


def told_error(error):
    """What is said of an element that failed: of what the user can mend words, else a traceback."""
    if isinstance(error, Refused):
        return f"{error}\n"
    return told_exception()


def one_line(error):
    """`ValueError: bad`, on a line."""
    if isinstance(error, Refused):
        return str(error)
    said = traceback.format_exception_only(type(error), error)[-1]
    return " ".join(said.split())[:500]


def gather(asked):
    name = asked.one("gather")
    function = function_of(asked, name)
    extra = [value for _, value in read_all(asked.one("extra"), asked, "extra_args")]
    places, failed, twice = found_results(asked.all("results"))
    count = count_in(asked.one("told"))
    missing = [index for index in range(count) if index not in places]
    odd = [index for index in places if index >= count]
    if twice or odd:
        what = f"twice: element {twice[0]}" if twice else f"of element {odd[0]} of {count}"
        raise Refused(f"there is a result {what}; osgbatch collect, and gather again")
    if missing and asked.one("partial") != "1":
        names = ", ".join(map(str, missing[:20])) + (" ..." if len(missing) > 20 else "")
        why = failed.get(missing[0], "")
        raise Refused(
            f"{len(missing)} of {count} elements have no result: {names}; "
            "--partial gathers the others" + (f"\n{why}" if why else "")
        )
    if missing and not places:
        raise Refused(f"none of {count} elements has a result\n{failed.get(0, '')}")
    given = {}
    if takes(function, "element_indices"):
        given["element_indices"] = sorted(places)
    if missing:
        say(f"osgbatch: {len(places)} of {count} elements are gathered")
    brought = bring_files(asked.all("results"), asked.gathered() != "never")
    function(Results(places, asked.gathered()).as_given(), *extra, **given)
    take_away(brought)


def bring_files(folders, code_too):
    """What the elements have written, copied into gather's working folder; stamps, by its path.

    code_too: also what an import would find there. Where no pickle may be read, since code of the
    execution point must not run, it must not come in by this way either, nor as what programs that
    gather starts there (R, another Python) read by themselves.
    """
    ours = OURS | {"stdout", "stderr", "status.json"}
    brought, of_failed = {}, []
    for task in tasks_of(folders):
        failed = failed_files(task)
        for folder, names, files in os.walk(task):
            names.sort()
            for file in sorted(files):
                source = os.path.join(folder, file)
                name = os.path.relpath(source, task)
                if name in ours:
                    continue
                if name in failed:
                    of_failed.append(f"{printable(name)} (element {failed[name]})")
                    continue
                why = left_out(name, code_too)
                if why:
                    number = os.path.basename(task)
                    say(f"osgbatch: warning: {printable(name)} of task {number}: left out, {why}")
                    continue
                os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
                shutil.copyfile(source, name)
                brought[name] = stamp(name)
    if of_failed:
        more = " ..." if len(of_failed) > 20 else ""
        say(f"osgbatch: left out, made by elements that failed: {', '.join(of_failed[:20])}{more}")
    return brought


def left_out(path, code_too):
    """Why what elements have written is not copied to a path of the working folder, or nothing."""
    parts = path.split(os.sep)
    hidden = any(part.startswith(".") for part in parts)
    if parts[-1].lower() in RUN_BY_ITSELF or (not code_too and (hidden or CODE.search(parts[-1]))):
        return "it could run by itself; it stays with the results of foreach"
    above = [os.path.join(*parts[:number]) for number in range(1, len(parts))]
    if any(os.path.islink(folder) for folder in above):
        return "its folder is a link to one of yours"
    if os.path.lexists(path) or any(os.path.isfile(folder) for folder in above):
        return "a file of that name is there already"
    return ""


def printable(name):
    """A name from elsewhere, for a message."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def tasks_of(folders):
    """The folders of the tasks, below these, in the order of the tasks."""
    found = []
    for above in folders:
        for place in (above, os.path.join(above, "failed")):
            if os.path.isdir(place):
                found += [os.path.join(place, name) for name in os.listdir(place) if name.isdigit()]
    return sorted(found, key=lambda path: int(os.path.basename(path)))


def stamp(path):
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def take_away(brought):
    """Remove what gather has left as it was: it is among the results of the elements."""
    for name, before in brought.items():
        with contextlib.suppress(OSError):
            if stamp(name) == before:
                os.remove(name)


def count_in(path):
    """How many elements there are, of what scatter has told."""
    try:
        with open(path, encoding="ascii") as file:
            return int(json.load(file)["elements"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} is damaged ({one_line(error)})") from None


def found_results(folders):
    """Where the result of each element lies, by its index; those that failed; those found twice."""
    places, failed, twice = {}, {}, []
    for task in tasks_of(folders):
        path = os.path.join(task, OUTPUTS, RESULTS)
        if not os.path.isfile(path):
            continue
        for record in records(path):
            if record.error is not None:
                failed[record.index] = record.error
            elif record.index in places:
                twice.append(record.index)
            else:
                places[record.index] = (path, record.offset)
    return {index: places[index] for index in sorted(places)}, failed, twice


class Results(collections.abc.Sequence):
    """The results in the order of the elements, each read from its file when it is asked for.

    It does what a list does; what changes a list (`sort`, `append`, ...) reads them all first.
    """

    def __init__(self, places, kind):
        self._indices = list(places)
        self._places = list(places.values())
        self._kind = kind
        self._list = None

    def as_given(self):
        """Itself, or where there is little a true list, which scripts may count on."""
        paths = {path for path, _ in self._places}
        if sum(os.path.getsize(path) for path in paths) <= LIST_BYTES:
            return list(self)
        return self

    def _read(self, number, file):
        file.seek(self._places[number][1])
        return Record(file).value(self._kind, f"the result of element {self._indices[number]}")

    def __len__(self):
        return len(self._places) if self._list is None else len(self._list)

    def __iter__(self):
        if self._list is not None:
            yield from self._list
            return
        path, file = None, None
        try:
            for number, place in enumerate(self._places):
                if place[0] != path:
                    if file is not None:
                        file.close()
                    path, file = place[0], open(place[0], "rb")  # noqa: SIM115
                yield self._read(number, file)
        finally:
            if file is not None:
                file.close()

    def __getitem__(self, index):
        if self._list is not None:
            return self._list[index]
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        with open(self._places[number][0], "rb") as file:
            return self._read(number, file)

    def _all(self):
        if self._list is None:
            self._list = list(self)
        return self._list

    def __setitem__(self, index, value):
        self._all()[index] = value

    def __delitem__(self, index):
        del self._all()[index]

    def __add__(self, other):
        return list(self) + list(other)

    def __radd__(self, other):
        return list(other) + list(self)

    def __mul__(self, times):
        return list(self) * times

    __rmul__ = __mul__

    def __eq__(self, other):
        if not isinstance(other, (list, Results)) or len(self) != len(other):
            return False
        return all(one == two for one, two in zip(self, other))  # noqa: B905 - Python 3.6

    __hash__ = None

    def __repr__(self):
        return repr(list(self))

    def __getattr__(self, name):
        if name in ("append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"):
            return getattr(self._all(), name)
        if name == "copy":
            return lambda: list(self)
        raise AttributeError(name)


# ---- the script -----------------------------------------------------------------------------


def function_of(asked, name):
    """A function of the user's script, which is imported by its path."""
    script = os.path.abspath(asked.one("script"))
    own = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0]) == own:  # not so under PYTHONSAFEPATH
        del sys.path[0]
    sys.path.insert(0, os.path.dirname(script))
    stem = os.path.splitext(os.path.basename(script))[0]
    # What it pickles is looked for by this name: the same one in every phase.
    module_name = stem if stem.isidentifier() and stem not in sys.modules else "foreach_script"
    spec = importlib.util.spec_from_file_location(module_name, script)
    if spec is None or not os.path.isfile(script):
        raise Refused(f"{asked.one('script')} is no Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, name, None)):
        found = sorted(key for key, value in vars(module).items() if inspect.isfunction(value))
        raise Refused(
            "{} has no function {}; it has {}".format(
                os.path.basename(script), name, ", ".join(found) or "none"
            )
        )
    return getattr(module, name)


def takes(function, name):
    """Whether a function has a parameter of this name."""
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):  # made in C, without a signature
        return False
    return parameter is not None and parameter.kind in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    )


def told_exception():
    """The traceback as if the user's own code had been started directly."""
    kind, error, frames = sys.exc_info()
    theirs = frames
    while theirs is not None and (
        theirs.tb_frame.f_code.co_filename == __file__
        or theirs.tb_frame.f_code.co_filename.startswith("<frozen importlib")
    ):
        theirs = theirs.tb_next
    told = "".join(traceback.format_exception(kind, error, theirs or frames))
    # as the user names it: the folder of a task is gone when this is read
    return told.replace(f'File "{HERE}{os.sep}', 'File "')


# ---- files of records -----------------------------------------------------------------------


class Writer:
    """Writes values to a file, each whole before the next one.

    kind: auto (what neither JSON nor NumPy keeps exactly is pickled), always, never.
    """

    def __init__(self, path, kind):
        self._file = open(path, "wb")  # noqa: SIM115
        self._kind = kind

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, index, value, where):
        """Raises Refused, which names it by `where`, when it cannot be kept."""
        if self._kind == "always":
            value = Opaque(value)
        try:
            data = values.encode(value, None if self._kind == "never" else dumps)
        except values.Unfit as error:
            inside = error.where[len("value") :]
            raise Refused(
                f"{where} is {a(value)}"
                + (f" with {error.what} in it, at {inside}" if inside else "")
                + ", which neither JSON nor NumPy keeps exactly; --pickle lets it be pickled"
            ) from None
        except Exception as error:
            value = value.value if isinstance(value, Opaque) else value
            raise Refused(
                f"{where} is {a(value)}, which cannot be pickled: {one_line(error)}"
            ) from None
        self._put({"index": index, "size": len(data)}, data)

    def write_error(self, index, text):
        self._put({"index": index, "size": 0, "error": text}, b"")

    def _put(self, head, data):
        self._file.write(json.dumps(head).encode("ascii") + b"\n" + data)
        self._file.flush()


class Opaque:
    """What is to be pickled, whatever it is."""

    def __init__(self, value):
        self.value = value


def dumps(value):
    return pickle.dumps(value.value if isinstance(value, Opaque) else value, PROTOCOL)


class Record:
    """A record at the place where a file stands: its index, and its value or its error."""

    def __init__(self, file):
        self.offset = file.tell()
        try:
            head = json.loads(file.readline().decode("ascii"))
            self.index, self._size = int(head["index"]), int(head["size"])
            self.error = head.get("error")
            if self.index < 0 or self._size < 0:
                raise ValueError("a number below 0")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"{file.name} is damaged: {one_line(error)}") from None
        self._file = file
        self._start = file.tell()
        self.stop = self._start + self._size

    def value(self, kind, where):
        """The value. Raises Refused for one that is damaged, or a pickle that is not to be read."""
        self._file.seek(self._start)
        try:
            return values.decode(
                self._file.read(self._size), None if kind == "never" else pickle.loads
            )
        except values.Pickled:
            raise Refused(
                f"{where} travels as a pickle, and reading one runs code that comes from where it "
                "was made; --pickle allows that"
            ) from None
        except values.Damaged as error:
            raise Refused(f"{where} is damaged: {error}") from None
        except Exception as error:
            raise Refused(f"{where} cannot be read: {one_line(error)}") from error


def records(path):
    """The whole records of a file, in order; one that was cut off at the end is none."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        while file.tell() < size:
            line = file.readline()
            file.seek(-len(line), os.SEEK_CUR)
            if not line.endswith(b"\n"):
                return
            record = Record(file)
            if record.stop > size:
                return
            yield record
            file.seek(record.stop)


def read_all(path, asked, what):
    """All values of a file, with their indices."""
    return [
        (record.index, record.value(asked.gathered(), f"{what}[{record.index}]"))
        for record in records(path)
    ]


def a(value):
    """What a value is, for a message: `a Model`, `an Array`."""
    name = type(value).__name__
    return ("an " if name[:1].lower() in "aeiou" else "a ") + name


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("scatter", "foreach", "gather"):
        sys.exit("usage: foreach.py scatter|foreach|gather key=value...")
    sys.exit(main(*sys.argv[1:]))
