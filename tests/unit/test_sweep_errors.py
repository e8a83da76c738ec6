"""Mistakes in the sweep section: what is said, and where the caret stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from osgbatch.errors import OsgbatchError, SpecErrors
from osgbatch.spec.load import load_spec
from osgbatch.sweep.expand import expand


def complaint(folder: Path, text: str) -> str:
    (folder / "sweep.yaml").write_text(text)
    (folder / "q.csv").write_text("u,v\n1,a\n2,b\n3,\n")
    (folder / "empty.txt").write_text("\n \n")
    with pytest.raises(OsgbatchError) as caught:
        expand(load_spec(folder / "sweep.yaml"))
    return str(caught.value).replace(f"{folder}/", "")


# The sweep section in one line, a mark under what the caret must show, and the message.
CASES = """
x: {rnage: 5}
    ^^^^^ unknown source "rnage" of column "x"; did you mean "range"?
x: {}
   ^^ column "x" should have one source, not none
x: {range: 1, files: a}
              ^^^^^ column "x" should have one source, not range and files
x: {range: [1, 1]}
           ^^^^^^ the range of "x" has no value
x: {range: 0}
           ^ the range of "x" has no value
x: {range: [1, 2, 0]}
                  ^ the step should not be 0
x: {range: [1, 2, 3, 4]}
           ^^^^^^^^^^^^ range: has another form
x: {range: abc}
           ^^^ range: has another form
x: {range: true}
           ^^^^ should be a number
x: {range: [0, 1e9, 1]}
           ^^^^^^^^^^^ the range of "x" has 1,000,000,000 values
x: {range: [0, 1e400]}
               ^^^^^ should be a number
x: {range: [0, 1, 1e-400]}
                  ^^^^^^ the number is too large or too small
x: {linspace: [0, 1]}
              ^^^^^^ linspace: has another form
x: {linspace: [0, 1, 2.5]}
                     ^^^ how many: should be a whole number from 1 to 10,000,000
x: {linspace: [0, a, 2]}
                  ^ should be a number
x: {logspace: [0, 400, 2]}
              ^^^^^^^^^^^ the exponents should be between -300 and 300
x: {files: []}
           ^^ files: should be a path or a pattern
x: {files: [q.csv, 5]}
                   ^ files: should be a path or a pattern or a list of them
x: {files: [q.csv, 'no*']}
                   ^^^^^ no file matches "no*"
x: {files: "osdf:///ospool/x/*"}
           ^^^^^^^^^^^^^^^^^^^^ nothing matches "osdf:///ospool/x/*"
x: {lines: [a]}
           ^^^ lines: should be a path
x: {lines: no.txt}
           ^^^^^^ cannot read "no.txt": No such file or directory
x: {lines: empty.txt}
           ^^^^^^^^^ "empty.txt" has no lines
x: {random: 5}
            ^ random: should say which numbers, how many, and a seed
x: {random: {n: 3, seed: 1}}
            ^^^^^^^^^^^^^^^ random: should have one distribution, not none
x: {random: {unifrom: [0, 1], n: 3, seed: 1}}
             ^^^^^^^ unknown key "unifrom" in random; did you mean "uniform"?
x: {random: {uniform: [0, 1], n: 3}}
            ^^^^^^^^^^^^^^^^^^^^^^^ random: "seed" is missing
x: {random: {uniform: [0, 1], seed: 3}}
            ^^^^^^^^^^^^^^^^^^^^^^^^^^ random: "n" is missing
x: {random: {uniform: [0, 1], n: 0, seed: 3}}
                                 ^ n: should be a whole number from 1 to 10,000,000
x: {random: {uniform: [0, 1], n: 1, seed: abc}}
                                          ^^^ seed: should be a whole number below 2**64
x: {random: {uniform: [1, 1], n: 3, seed: 1}}
                      ^^^^^^ uniform: the first number should be below the second
x: {random: {loguniform: [0, 1], n: 3, seed: 1}}
                         ^^^^^^ loguniform: both numbers should be above 0
x: {random: {normal: [0, 0], n: 3, seed: 1}}
                     ^^^^^^ normal: the standard deviation should be above 0
x: {random: {integers: [1.5, 3], n: 3, seed: 1}}
                       ^^^^^^^^ integers: both should be whole numbers
x: {random: {integers: [0, 99999999999999999], n: 3, seed: 1}}
                       ^^^^^^^^^^^^^^^^^^^^^^ integers: they should be less than 2**53 apart
x: {random: {choice: [], n: 3, seed: 1}}
                     ^^ choice: should be a list of values
x: {random: {choice: [[1]], n: 3, seed: 1}}
                      ^^^ a value should be text, a number or true/false
table: 5
       ^ table: should name a CSV, TSV, JSON lines or Parquet file
table: [q.csv, 5]
               ^ table: should be a path or a list of them
table: [q.csv, q.csv]
               ^^^^^ column "u" is given twice
table: [{a: 1, b: x}, {a: 2}]
                      ^^^^^^ "b" is missing in this row
table: [{a: 1, b: x}, {a: 2, b: y, c: z}]
                                   ^ the first row has no "c"
table: [{a: 1}, q.csv]
                ^^^^^ a row should be columns, with their values
table: [{}]
        ^^ a row should have a column
table: [{count: 1}]
         ^^^^^ "count" is taken by osgbatch
u: [1], table: q.csv
               ^^^^^ column "u" is given twice
a: [1], zip: {a: [2]}
              ^ column "a" is given twice, first in line 2
zip: 5
     ^ zip: should be columns, with their values
zip: {a: [1, 2], b: [3]}
^^^ the columns of a zip should have as many values each: a has 2, b has 1
zip: [{a: [1]}, {b: [1, 2], table: q.csv}]
                ^^^^^^^^^^^^^^^^^^^^^^^^^ the columns of a zip should have as many values each
zip: {a: [1], where: a > 0}
              ^^^^^ "where" cannot stand inside zip
zip: {a: [1], index: [2]}
              ^^^^^ "index" is taken by osgbatch
table: q.csv, where: z < 3
                     ^ where: unknown name "z"
table: q.csv, where: uu < 3
                     ^^ where: unknown name "uu"; did you mean "u"?
table: q.csv, where: [u < 3, "v == 'a' and z"]
                                           ^ where: unknown name "z"
table: q.csv, where: u <
                       ^ where: something is missing after <
table: q.csv, exclude: u = 3
                         ^ exclude: a single = does not compare
table: q.csv, where: index < 3
                     ^^^^^ where: "index" is not known here
table: q.csv, where: 1 < 2 and repeat < 3
                               ^^^^^^ where: unknown name "repeat"
table: q.csv, where: v < 3
                     ^^^^^ where: cannot evaluate v < 3: v is text and 3 is a number
table: q.csv, where: u
                     ^ where: gives 1, not true or false (row 1: u = 1)
table: q.csv, where: u > 3
                     ^^^^^ where: leaves no row of 3
table: q.csv, where: u > 2, exclude: u == 3
                                     ^^^^^^ exclude: leaves no row of 1 (3 before where and exclude)
table: q.csv, where: 5
                     ^ where: should be a condition, or a list of them
table: q.csv, where: []
                     ^^ where: should be a condition, or a list of them
where: x < 1
       ^^^^^ where: the sweep has no columns
table: q.csv, sample: 4
                      ^ sample: 4 rows are wanted, and there are 3
table: q.csv, sample: {n: 3}, where: u > 1
                          ^ sample: 3 rows are wanted, and there are 2 (3 before where and exclude)
table: q.csv, sample: 0
                      ^ sample: should be a whole number from 1 to 10,000,000
table: q.csv, sample: {seed: 1}
                      ^^^^^^^^^ sample: "n" is missing
table: q.csv, sample: {n: 1, sed: 1}
                             ^^^ unknown key "sed" in sample; did you mean "seed"?
table: q.csv, repeat: x
                      ^ repeat: should be a whole number from 1 to 10,000,000
table: q.csv, count: 2
              ^^^^^ count is for a sweep without columns, and here is table
repeat: 2, count: 2
           ^^^^^ count is for a sweep without columns, and here is repeat
count: -1
       ^^ count: should be a whole number from 1 to 10,000,000
wheer: x < 1
       ^^^^^ the values of "wheer" should be a list
a: {range: 100000}, b: {range: 100000}
                               ^^^^^^ 10,000,000,000 tasks are more than the 100,000,000
a: {range: 100000}, b: {range: 100000}, where: a < b
                                               ^^^^^ where: 10,000,000,000 rows are too many
""".strip().splitlines()


@pytest.mark.parametrize(("sweep", "mark"), list(zip(CASES[::2], CASES[1::2], strict=True)))
def test_a_mistake_is_shown_where_it_is(tmp_path: Path, sweep: str, mark: str) -> None:
    line = f"sweep: {{{sweep}}}"
    said = complaint(tmp_path, f"command: echo\n{line}\n").splitlines()
    carets, message = mark.strip().split(" ", 1)
    column = 8 + mark.index("^") + 1
    assert said[0].startswith(f"sweep.yaml:2:{column}: {message}")
    assert said[1] == f"    2 | {line}"
    assert said[2] == f"      | {' ' * (column - 1)}{carets}"


@pytest.mark.parametrize(
    ("sweep", "advice"),
    [
        ("x: {range: [1, 1]}", "The second number is left out, as in Python."),
        ("x: {random: {integers: [6, 1], n: 1, seed: 1}}", "from, to, both included"),
        ("x: {random: {normal: [6, 1], n: 1}}", "the same values wherever and whenever it is run"),
        ("zip: {a: [1], b: [1, 2]}", "To combine each with each, write them under sweep itself."),
        ("a: [1], count: 2", "To run every row 2 times, write `repeat: 2`."),
        ("table: q.csv, where: repeat < 3", "The rows are repeated after they are chosen."),
        ("table: q.csv, where: z < 3", "Known are u, v."),
        ("table: q.csv, where: v == 3", "in row 1"),
        ("wheer: x < 1", 'Did you mean "where"?'),
        ("tabel: q.csv", 'Did you mean "table"?'),
        ("table: x.xlsx", "Save the sheet as CSV"),
        ("a: {range: 100000}, b: {range: 100000}", "`sample: 1000` takes some"),
        ("x: range(3)", "Write {range: 3}."),
        ("x: np.linspace(0, 1, num=11)", "Write {linspace: [0, 1, 11]}."),
        ("x: seq(1, 5)", "Write {range: [1, 6]}, whose last value is 5."),
        ("x: range(n)", "Write {range: [1, 6]} for 1, 2, 3, 4, 5, or {linspace: [0, 1, 11]}"),
        ("x: linspace(0)", "or {linspace: [0, 1, 11]} (from, to, how many)."),
        ("x: 1..5", "Write {range: [1, 6]}, whose last value is 5."),
        ("x: 5 to 1", "Write {range: [5, 0, -1]}, whose last value is 1."),
        ("x: 1:5", "Write {range: [1, 6]}, whose last value is 5; for the text, [1:5]."),
        ("x: 0.1..0.5", "Write {linspace: [0.1, 0.5, 11]} for 11 numbers, both ends included."),
        ("x: {1..5}", "Write {range: [1, 6]}, whose last value is 5."),
        ("x: {from: 1, to: 5}", "Write {range: [1, 6]}, whose last value is 5."),
        ("x: {start: 0, stop: 1, num: 11}", "Write {linspace: [0, 1, 11]}."),
        ("x: {from: 1, to: 9, step: 2}", "Write {range: [1, 9, 2]}, which leaves 9 itself out."),
        ("x: {from: 1}", "Write {range: [1, 6]} for 1, 2, 3, 4, 5, or {linspace: [0, 1, 11]}"),
        ("x: {range:5}", "Write a blank after the colon."),
        ("x: {linspace:[1, 2, 3]}", "Write a blank after the colon."),
        ("x: hello", "Write [hello], or {files: data/*.npy}."),
        ("x: 1-5", "Write {range: [1, 6]}, whose last value is 5; for the text, [1-5]."),
        ("x: 2024-01", "Write [2024-01], or {files: data/*.npy}."),
        ("x: 2024-01-05", "Write [2024-01-05], or {files: data/*.npy}."),
    ],
)
def test_a_mistake_comes_with_advice(tmp_path: Path, sweep: str, advice: str) -> None:
    assert advice in complaint(tmp_path, f"command: echo\nsweep: {{{sweep}}}\n")


def test_what_another_language_writes_is_one_mistake(tmp_path: Path) -> None:
    for sweep in ("x: {from: 1, to: 5}", "x: np.arange(0, 10, 2)", "x: range(1, 5), y: [1]"):
        (tmp_path / "sweep.yaml").write_text(f"command: echo\nsweep: {{{sweep}}}\n")
        with pytest.raises(SpecErrors) as caught:
            load_spec(tmp_path / "sweep.yaml")
        (error,) = caught.value.errors
        assert "did you mean" not in error.what and error.fix.startswith("Write {range: [")


def test_advice_for_a_setting_is_the_whole_setting(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("command: echo\n")
    for given in ("1..5", "range(1, 6)", "{from: 1, to: 5}"):
        with pytest.raises(SpecErrors) as caught:
            load_spec(tmp_path / "sweep.yaml", [f"sweep.x={given}"])
        assert caught.value.errors[0].fix.startswith("Write --set 'sweep.x={range: [1, 6]}'")


def test_the_caret_finds_conditions_in_quotes_and_gives_up_in_blocks(tmp_path: Path) -> None:
    head = "command: echo\nsweep:\n  table: q.csv\n"
    assert complaint(tmp_path, head + '  where: "u < 3 and z"\n').startswith("sweep.yaml:4:21: ")
    assert complaint(tmp_path, head + "  where: >\n    u < 3 and z\n").startswith("sweep.yaml:4:10")
    assert complaint(tmp_path, head + "  where: 'v == ''a'' or z'\n").startswith("sweep.yaml:4:10")


def test_all_sources_that_are_wrong_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "command: echo\nsweep: {table: no.csv, x: {files: no}, y: [1]}\n"
    )
    with pytest.raises(SpecErrors) as caught:
        expand(load_spec(tmp_path / "sweep.yaml"))
    assert [error.place.column for error in caught.value.errors] == [16, 35]


def test_nul_characters_are_refused_everywhere(tmp_path: Path) -> None:
    for sweep in ('x: ["a\\0"]', 'x: {files: "a\\0"}', 'table: "a\\0.csv"', 'x: {lines: "\\0"}'):
        assert "cannot hold a NUL" in complaint(tmp_path, f"command: echo\nsweep: {{{sweep}}}\n")
    (tmp_path / "n.txt").write_bytes(b"a\nb\0\n")
    said = complaint(tmp_path, "command: echo\nsweep: {x: {lines: n.txt}}\n")
    assert said.startswith("n.txt:2:2: a NUL character")
    (tmp_path / "n.txt").write_bytes(b"a\n\xff\n")
    said = complaint(tmp_path, "command: echo\nsweep: {x: {lines: n.txt}}\n")
    assert said.startswith("n.txt:2:1: byte 0xff is not UTF-8")
