"""What R scripts load is found from their text, and what an environment lacks is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from osgbatch.packing.environment.imports import import_warnings, importable
from osgbatch.packing.environment.r_scripts import loaded_packages, without_base
from osgbatch.spec.load import load_spec


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("library(jsonlite)", {"jsonlite"}),
        (
            'library("data.table"); library(package = "dplyr", quietly = TRUE)',
            {"data.table", "dplyr"},
        ),
        ("suppressPackageStartupMessages(library( ggplot2 ))", {"ggplot2"}),
        ("require(survival)\n x <- stringr :: str_c('a')", {"survival", "stringr"}),
        ("zoo:::.hidden(1); loadNamespace('xts')", {"zoo", "xts"}),
        ("library(stats); parallel::mclapply(1, f); library(tcltk)", set()),
        ('# library(no)\nx <- \'library(no)\'; y <- "no::f \\" no::g"', set()),
        ("r\"(library(no) )\"; R'--[no::f]--'; `no::f`", set()),
        ("for (name in c('a')) library(name, character.only = TRUE)", set()),
        ("library('yes', character.only = TRUE)", {"yes"}),
        ("if (require(a)) a::f(); if (!require('b')) stop(); ok <- require(c1)", set()),
        ("if (requireNamespace('d', quietly = TRUE)) d::f()", set()),
        ("try(library(e)); tryCatch({ library(g) }, error = stop)", set()),
        ("my.library(h); x$library(i); dt[, j := 1]; k:l; m$n::o", set()),
        ("if (TRUE) library(p)\nf = function() library(q)", {"p", "q"}),
        ("library()", set()),
    ],
)
def test_what_a_script_loads(text: str, found: set[str]) -> None:
    assert loaded_packages(text) == found


def warnings(folder: Path, modules: tuple[str, ...] | None) -> list[str]:
    (folder / "fit.R").write_text("library(stats)\nlibrary(mgcv)\nsource('more.r')\nmine::f()\n")
    (folder / "more.r").write_text("greet::greet('x')\n")
    (folder / "mine").mkdir()
    (folder / "mine/__init__.py").write_text("")
    (folder / "sweep.yaml").write_text(
        "command: fit.R {x}\nsweep: {x: [1]}\nfiles: [more.r]\nlibraries: [mine/]\n"
    )
    return import_warnings(load_spec(folder / "sweep.yaml"), modules)


def test_what_is_nowhere_is_told(tmp_path: Path) -> None:
    names = ["base", "stats", "greet"]
    modules = importable(f"lib/R/library/{name}/DESCRIPTION" for name in names)
    assert modules == ("R:base", "R:greet", "R:stats")
    assert without_base(modules) == ["R:greet"]
    assert warnings(tmp_path, modules) == [
        "mgcv is loaded by your R scripts, and is neither in the environment nor among libraries"
    ]


def test_an_environment_without_r_is_told(tmp_path: Path) -> None:
    assert warnings(tmp_path, ("numpy",)) == [
        "fit.R needs R, which is not in the environment: add r-base to it"
    ]


def test_of_an_unknown_environment_nothing_is_said(tmp_path: Path) -> None:
    assert warnings(tmp_path, None) == []
