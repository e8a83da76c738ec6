"""Calls the function that gathers, with the results: python gather.py ROWS MODULE NAME FOLDER...

osgbatch starts it in results/, in the environment of the tasks: it needs Python 3.6, nothing else.
ROWS: a line of JSON for each task, its folder there and its row of results.csv. FOLDER: where the
module may be.
"""

import importlib
import json
import os
import pathlib
import sys


class Row(dict):
    """A row of results.csv: a dict of its columns, typed, None for what is not known."""

    folder = None

    def path(self, name):
        """A file of the task, such as `outputs/peaks.npy`, whether it is there or not."""
        if self.folder is None:
            raise FileNotFoundError("task {} has brought nothing".format(self["index"]))
        return self.folder / name


class Rows:
    """The rows of all tasks: to be gone through as often as you like, read one by one."""

    def __init__(self, path):
        self._path = path
        with open(path, encoding="ascii") as lines:
            self._length = sum(1 for _ in lines)

    def __len__(self):
        return self._length

    def __iter__(self):
        with open(self._path, encoding="ascii") as lines:
            for line in lines:
                folder, values = json.loads(line)
                row = Row(values)
                row.folder = None if folder is None else pathlib.Path(folder).absolute()
                yield row

    def __getitem__(self, index):
        return list(self)[index]

    def to_pandas(self):
        """The same as a pandas DataFrame, where the environment has pandas."""
        import pandas

        return pandas.DataFrame([dict(row) for row in self])


def main(rows, module, name, *folders):
    own = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0]) == own:
        del sys.path[0]
    sys.path[:0] = folders
    function = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(function, part):
            sys.exit(f"osgbatch: {module} has no function {name}")
        function = getattr(function, part)
    if not callable(function):
        sys.exit(f"osgbatch: {module}:{name} is no function")
    function(Rows(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
