"""What runs on execution points for scripts of R's: templates/foreach.R, with a real R."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import r_channel

from osgbatch.rendering.templates import template_folder

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("apt-get"), reason="R is taken from Debian"
)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rscript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Rscript that starts: the tree of the tests' R with a path of its own."""
    tool = r_channel.tool()
    made: Path = tool.provide()
    prefix = tmp_path_factory.mktemp("r") / "prefix"
    shutil.copytree(made / tool.TREE, prefix, symlinks=True)
    old, new = tool.PLACEHOLDER.encode(), os.fsencode(prefix)
    for name, mode in json.loads((made / tool.LIST).read_text()).items():
        data = (prefix / name).read_bytes()
        while mode == "binary" and old in data:
            start = data.index(old)
            stop = data.index(b"\0", start)
            text = data[start:stop].replace(old, new, 1)
            data = data[:start] + text.ljust(stop - start, b"\0") + data[stop:]
        (prefix / name).write_bytes(data.replace(old, new))
    return prefix / "bin/Rscript"


class Phases:
    """The three phases of a script, each in a folder of its own."""

    def __init__(self, rscript: Path, folder: Path, script: str, *options: str) -> None:
        self.rscript, self.folder, self.script = rscript, folder, script
        self.options = options

    def run(self, phase: str, place: str, *words: str) -> subprocess.CompletedProcess[str]:
        task = self.folder / place
        task.mkdir(parents=True, exist_ok=True)
        (task / "script.R").write_text(self.script)
        names = ("scatter=get_foreach_args", "foreach=foreach", "gather=gather")
        command = [self.rscript, template_folder() / "foreach.R", phase, "script=script.R"]
        done = subprocess.run(
            [*map(str, command), *names, *words],
            cwd=task,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        (task / "script.R").unlink()
        return done

    def scatter(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("scatter", "scatter", *words)

    def foreach(self, number: int) -> subprocess.CompletedProcess[str]:
        made = self.folder / "scatter/outputs"
        lines = (made / "tasks.csv").read_text().splitlines()
        assert lines[0] == "first,elements"
        first, count = lines[1 + number].split(",")
        return self.run(
            "foreach", f"foreach/{number}", f"elements={made}/elements/{first}.rds",
            f"extra={made}/extra.rds", f"first={first}", f"number={count}",
        )  # fmt: skip

    def gather(self, *words: str) -> subprocess.CompletedProcess[str]:
        made = self.folder / "scatter/outputs"
        return self.run(
            "gather", "gather", f"results={self.folder / 'foreach'}",
            f"extra={made}/extra.rds", f"told={made}/foreach.json", *words,
        )  # fmt: skip


SPARKLES = """
one.hot <- function(x) {
  sapply( levels(x), function(level) {
    as.numeric(x == level)
  })
}
fit.and.get.rmsq <- function(target.index, features) {
  model <- lm.fit(features[,-target.index], features[,target.index])
  mean(model$residuals ** 2) ** 0.5
}
get_foreach_args <- function() {
  data(iris)
  features <- as.matrix(cbind(iris[,1:4], one.hot(iris[,5])))
  list(elements=seq(ncol(features)), extra_args=list(features))
}
foreach <- function(i, features) {
  data.frame(target=colnames(features)[[i]], rmse=fit.and.get.rmsq(i, features))
}
gather <- function(results, ...) {
  df <- do.call(rbind, results)
  write.csv(df, file="results.csv")
}
"""


def test_sparkles_example_writes_what_its_documentation_says(rscript: Path, tmp_path: Path) -> None:
    phases = Phases(rscript, tmp_path, SPARKLES)
    assert phases.scatter("batch=4").returncode == 0
    assert [phases.foreach(number).returncode for number in (0, 1)] == [0, 0]
    assert phases.gather().returncode == 0
    with (tmp_path / "gather/results.csv").open(newline="") as stream:
        found = {row["target"]: float(row["rmse"]) for row in csv.DictReader(stream)}
    assert list(found) == [
        *("Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width"),
        *("setosa", "versicolor", "virginica"),
    ]
    assert found["Sepal.Length"] == pytest.approx(0.300626956897024)
    assert found["virginica"] == pytest.approx(0.0683978359513745)
    assert all(p.exists() for p in (tmp_path / "foreach").glob("*/outputs/complete"))


ODD = """
deep <- function(x) stop("bad ", x, "\\nsecond line")
get_foreach_args <- function(...) {
  stopifnot(identical(c(...), c("a b", "-e", "--args", "x=%")))
  list(elements = list(NULL, quote(x), "it's", 4, list(a = 1)), extra_args = list(k = 2))
}
foreach <- function(e, k, element_index) {
  cat("element", element_index, "k", k, "\\n")
  writeLines("x", paste0("made", element_index, ".txt"))
  writeLines("writeLines('ran', 'ran')", ".Rprofile")
  dir.create("data", showWarnings = FALSE)
  writeLines("x", "data/new.txt")
  if (element_index == 3) deep(e)
  e
}
gather <- function(results, k, element_indices) {
  str(results)
  print(element_indices)
  print(list.files(pattern = "^made"))
  writeLines("new", "new.txt")
  system2(file.path(R.home("bin"), "Rscript"), c("-e", shQuote("invisible(1)")))
}
"""


def test_a_failing_element_is_named_and_its_siblings_run(rscript: Path, tmp_path: Path) -> None:
    phases = Phases(rscript, tmp_path, ODD)
    words = ("arg=a%20b", "arg=-e", "arg=--args", "arg=x%3D%25", "batch=3")
    scattered = phases.scatter(*words)
    assert scattered.returncode == 0, scattered.stderr
    assert "5 elements, in 2 tasks of up to 3" in scattered.stderr
    assert phases.foreach(0).returncode == 0
    failed = phases.foreach(1)
    assert failed.returncode == 1
    assert failed.stdout == "element 3 k 2 \nelement 4 k 2 \n"
    assert failed.stderr == (
        "osgbatch: element 3 failed:\nError in deep(e) : bad 4\nsecond line\nCalls:\n  deep(e)\n"
        "osgbatch: of 2 elements 1 failed: 3\n"
    )
    outputs = tmp_path / "foreach/1/outputs"
    assert (outputs / "elements.txt").read_text() == "3 failed bad 4 second line\n4 ok\n"
    assert not (outputs / "complete").exists()
    done = phases.gather()
    assert done.returncode == 1
    assert "1 of 5 elements have no result: 3; --partial gathers the others" in done.stderr
    shutil.rmtree(tmp_path / "gather")
    (tmp_path / "mine").mkdir()
    (tmp_path / "gather").mkdir()
    (tmp_path / "gather/data").symlink_to(tmp_path / "mine")
    done = phases.gather("partial=1")
    assert done.returncode == 0, done.stderr
    assert ".Rprofile of task 0: left out, it could run by itself" in done.stderr
    assert "data/new.txt of task 0: left out, its folder is a link" in done.stderr
    assert not (tmp_path / "gather/ran").exists() and not list((tmp_path / "mine").iterdir())
    assert done.stdout.splitlines() == [
        "List of 4",
        " $ : NULL",
        " $ : symbol x",
        ' $ : chr "it\'s"',
        " $ :List of 1",
        "  ..$ a: num 1",
        "[1] 0 1 2 4",
        '[1] "made0.txt" "made1.txt" "made2.txt" "made4.txt"',
    ]
    assert "left out, made by elements that failed: " in done.stderr
    assert [p.name for p in (tmp_path / "gather").glob("*.txt")] == ["new.txt"]
    results = outputs / "results.rds"
    results.write_bytes(results.read_bytes()[:-5])  # cut off as by a full disk
    shutil.rmtree(tmp_path / "gather")
    assert "elements have no result: 3, 4" in phases.gather().stderr


def test_a_script_that_breaks_the_protocol_is_told(rscript: Path, tmp_path: Path) -> None:
    said = Phases(rscript, tmp_path / "1", "scatter <- function() 1").scatter().stderr
    assert said == "osgbatch: script.R has no function get_foreach_args; it has scatter\n"
    said = Phases(rscript, tmp_path / "2", "get_foreach_args <- function() 1").scatter().stderr
    assert said == (
        "osgbatch: get_foreach_args should return list(elements = ..., extra_args = list(...))\n"
    )
