"""Calls the function that gathers, with the results: python gather.py ROWS MODULE NAME FOLDER...

osgbatch starts it in results/, in the environment of the tasks: it needs Python 3.6, nothing else.
ROWS: a line of JSON for each task, its folder there and its row of results.csv. FOLDER: where the
module may be.
"""

import array
import importlib
import json
import os
import pathlib
import sys
import traceback


class Row(dict):
    """A row of results.csv: a dict of its columns, typed, None for what is not known."""

    folder = None

    def path(self, name):
        """A file of the task, such as `outputs/peaks.npy`, whether it is there or not."""
        if self.folder is None:
            raise FileNotFoundError("task {} has brought nothing".format(self["index"]))
        return self.folder / name


def _row(line):
    folder, values = json.loads(line.decode("ascii"))
    row = Row(values)
    row.folder = None if folder is None else pathlib.Path(folder).absolute()
    return row


class Rows:
    """The rows of all tasks: to be gone through as often as you like, read one by one."""

    def __init__(self, path):
        self._path = path
        self._starts = array.array("Q")
        start = 0
        with open(path, "rb") as lines:
            for line in lines:
                self._starts.append(start)
                start += len(line)

    def __len__(self):
        return len(self._starts)

    def __iter__(self):
        with open(self._path, "rb") as lines:
            for line in lines:
                yield _row(line)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        with open(self._path, "rb") as lines:
            lines.seek(self._starts[index])
            return _row(lines.readline())

    def to_pandas(self):
        """The same as a pandas DataFrame, where the environment has pandas."""
        import pandas

        return pandas.DataFrame([dict(row) for row in self])


def main(rows, module, name, *folders):
    own = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0]) == own:
        del sys.path[0]
    sys.path[:0] = folders
    try:
        function = importlib.import_module(module)
        for part in name.split("."):
            if not hasattr(function, part):
                sys.exit(f"osgbatch: {module} has no function {name}")
            function = getattr(function, part)
        if not callable(function):
            sys.exit(f"osgbatch: {module}:{name} is no function")
        function(Rows(rows))
    except Exception as error:
        _tell(error)
        sys.exit(1)


def _tell(error):
    """The traceback as Python prints it, from the user's own code on."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def _is_ours(path):
    return path == __file__ or "importlib" in path


if __name__ == "__main__":
    main(*sys.argv[1:])
