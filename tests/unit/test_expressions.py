"""Expressions over the columns of a sweep: what they mean, what they refuse, what they cost."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osgbatch.expressions import MAX_LENGTH, MAX_NESTING, Expression, ExpressionError
from osgbatch.expressions import parse_expression as parse

ROW: dict[str, Any] = {
    "n": 3,
    "x": 0.5,
    "zero": 0,
    "s": "a01",
    "digits": "1",
    "empty": "",
    "yes": True,
    "flag": "true",
    "nothing": None,
    "index": 7,
}


def value(text: str, units: bool = False) -> Any:
    """The value of an expression for ROW, by name; by position it must be the same."""
    expression = parse(text, ROW, units)
    found = expression.evaluate(ROW)
    columns = [*reversed(ROW), "other"]
    assert repr(expression.compile(columns)([*reversed(ROW.values()), 0])) == repr(found)
    return found


def error(text: str, units: bool = False) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        value(text, units)
    assert 0 <= caught.value.offset < max(1, len(text))
    assert 1 <= caught.value.width <= max(1, len(text) - caught.value.offset)
    return caught.value


def marked(text: str, units: bool = False) -> tuple[str, str]:
    """The part of a faulty expression that the error points at, and all it says."""
    found = error(text, units)
    return text[found.offset : found.offset + found.width], str(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n", 3),
        ("1e3", 1000.0),
        (".5 + 1.", 1.5),
        ("index == 7", True),
        ("true", True),
        ("False", False),
        ("x < 0.75 and n in [1, 2, 3]", True),
        ("n in (1, 2)", False),
        ("n not in (3,)", False),
        ("n in []", False),
        ("s in ['b', \"a01\"]", True),
        ("'a' in s", True),
        ("'b' not in s", True),
        ("0 < n <= 3", True),
        ("0 < n < 3 < 1/zero", False),
        ("not n == 4", True),
        ("!yes || n == 3 && x == 0.5", True),
        ("zero and 1/zero", 0),
        ("n or 1/zero", 3),
        ("zero or x", 0.5),
        ("n and x and s", "a01"),
        ("zero or empty or s", "a01"),
        ("1 + 2 * n", 7),
        ("10 - 2 - 3", 5),
        ("7 // 2 % 2", 1),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("-(n - 5) * 2", 4),
        ("- -n", 3),
        ("8 / 2 / 2", 2.0),
        ("s + '-' + str(n)", "a01-3"),
        ("\"a\\\"b\\n\\t\\\\\" + '\\''", "a\"b\n\t\\'"),
        ("min(n, x, 2)", 0.5),
        ("max(n, x)", 3),
        ("abs(-n)", 3),
        ("round(x * 3, 1)", 1.5),
        ("round(2.6)", 3),
        ("floor(2.6) + ceil(2.1)", 5),
        ("sqrt(9)", 3.0),
        ("log(8, 2)", 3.0),
        ("log(exp(1))", 1.0),
        ("len(s)", 3),
        ("int('12') + int(2.9)", 14),
        ("float(digits)", 1.0),
        ("startswith(s, 'a')", True),
        ("endswith(s, '2')", False),
        ("n\n  == 3", True),
        ("yes == 1", True),
        ("yes + 1", 2),
        ("not s", False),
        ("min(1, 2,)", 1),
        ("(n) in (3, 4)", True),
        ("n == 3 or false", True),
        ("1 == 1.0 != 2", True),
        ("n in [x, n]", True),
    ],
)
def test_means_what_it_means_in_python(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected", "units"),
    [
        ("2 GB * n", 6 * 1024**3, {"size"}),
        ("512MiB", 512 * 1024**2, {"size"}),
        ("1.5 gb", 3 * 1024**3 // 2, {"size"}),
        ("3 K", 3072, {"size"}),
        ("7 B", 7, {"size"}),
        ("1 TiB", 1024**4, {"size"}),
        ("20 min", 1200, {"time"}),
        ("1.5 h + 1 s", 5401, {"time"}),
        ("2 days", 172800, {"time"}),
        ("0.1 s", 0.1, {"time"}),
        ("-2 GB", -2 * 1024**3, {"size"}),
        ("2 * n", 6, set()),
        ("2 in [2 B]", True, {"size"}),
        ("1 GB or 1 h", 1024**3, {"size", "time"}),
    ],
)
def test_units_are_bytes_and_seconds(text: str, expected: object, units: set[str]) -> None:
    found = value(text, units=True)
    assert found == expected
    assert type(found) is type(expected)
    assert parse(text, units=True).units == units


def test_an_empty_cell_may_be_compared_with_anything() -> None:
    assert value("empty == ''") is True
    assert value("n != '' and n > 2") is True
    assert value("empty == 1 or empty in [1, 2]") is False
    assert value("nothing == 1 or nothing == 'a'") is False


@pytest.mark.parametrize(
    ("text", "part", "says"),
    [
        ("", "", "empty"),
        ("  ", " ", "empty"),
        ("n = 3", "=", "Write == to compare"),
        ("n === 3", "===", "Write =="),
        ("n <> 3", "<>", "Write !="),
        ("n => 3", "=>", "Write >="),
        ("n =< 3", "=<", "Write <="),
        ("n is 3", "is", "Write =="),
        ("n & 1", "&", "Write and"),
        ("n | 1", "|", "Write or"),
        ("n ^ 2", "^", "Write **"),
        ("n > 1 AND n < 3", "AND", "Write and"),
        ("{n} > 1", "{", "without braces"),
        ("s == “a”", "“", "straight quotes"),
        ("s == 'a", "'a", "Close it with another '"),
        (r"s == 'C:\data'", r"\d", "Write \\\\ for a backslash"),
        ("nn == 3", "nn", 'did you mean "n"?'),
        ("s == quux", "quux", "Known are n, x, zero"),
        ("s == zebra", "zebra", 'Text stands in quotes: "zebra"'),
        ("sqr(n)", "sqr", 'did you mean "sqrt"?'),
        ("frobnicate(n)", "frobnicate", "Known are min, max"),
        ("contains(s, 'a')", "contains", "Write y in x"),
        ("min(n)", "min(n)", "takes 2 to 99 values, not 1"),
        ("len()", "len()", "takes 1 values, not 0"),
        ("__import__('os')", "__import__", "unknown function"),
        ("s.upper()", ".", "unexpected"),
        ("s[0]", "[", "unexpected ["),
        ("lambda: 1", ":", "unexpected"),
        ("n == 1 or 2", "2", "Write n == 2, or n in [..]"),
        ("n and", "and", "missing after and"),
        ("n 3", "3", "unexpected 3"),
        ("(n", "(", "Close it with )"),
        ("n)", ")", "unexpected )"),
        ("n in [1, 2", "[", "Close it with ]"),
        ("n in [1 2]", "2", "unexpected 2"),
        ("n in [,]", ",", "unexpected"),
        ("n == [1]", "[", "Write x in [..]"),
        ("(1, 2)", "(1, 2)", "only follow in"),
        ("()", "()", "only follow in"),
        ("1 + not n", "not", "Write (not ...)"),
        ("n in [1][0]", "[", "unexpected"),
        ("n not 3", "not", "unexpected not"),
        ("s == 007", "007", 'Write "007" for text'),
        ("2n", "2n", "Write 2 * n"),
        ("2 GB", "2 GB", "only in resources"),
        ("1e999", "1e999", "too large"),
        ("9" * 5000, "9" * 5000, "too large"),
        ("2foo", "2foo", 'Write "2foo" for text'),
        ("0x10", "0x10", "cannot follow"),
        (" " * MAX_LENGTH + "n", "n", "longer than 10000 characters"),
        ("n @ 3", "@", "unexpected"),
        ("n\0", "\0", "unexpected"),
    ],
)
def test_a_mistake_is_shown_and_mended(text: str, part: str, says: str) -> None:
    found, message = marked(text)
    assert found == part
    assert says in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("9" * 308 + " TB", "too large"),
        ("2 m", "Write min or MB"),
        ("2 XB", "Units are KB"),
        ("2n", "Write 2 * n"),
    ],
)
def test_a_wrong_unit_is_shown_and_mended(text: str, says: str) -> None:
    assert marked(text, units=True)[0] == text
    assert says in marked(text, units=True)[1]


@pytest.mark.parametrize(
    ("text", "part", "says"),
    [
        (
            "yes and digits == 1",
            "digits == 1",
            (
                "digits is text and 1 is a number (digits = '1')\n"
                '  Write "1" for text, or float(digits) for a number.'
            ),
        ),
        ("s != n", "s != n", "Write str(n) for text, or float(s) for a number."),
        ("n == 'a'", "n == 'a'", "n is a number and 'a' is text (n = 3)\n  Write str(n) for text."),
        ("s < 1", "s < 1", 'Write "1" for text'),
        ("0 < n < s", "n < s", "s = 'a01'"),
        ("digits in [1, 2]", "digits in [1, 2]", "[1, 2] is a list of numbers (digits = '1')"),
        ("digits not in [n, x]", "digits not in [n, x]", "a list of numbers"),
        ("n in 'abc'", "n in 'abc'", "Write str(n) for text"),
        ("n in 3", "n in 3", "Write n in [..]"),
        ("flag == true", "flag == true", 'Write "true" for text.'),
        ("yes and empty < 1", "empty < 1", 'first: empty != "" and'),
        ("n / zero + 1", "n / zero", "division by zero (n = 3, zero = 0)"),
        ("1 + n % (n - 3)", "n % (n - 3)", "(n - 3) = 0"),
        ("1 + n + s", "1 + n + s", "(1 + n = 4, s = 'a01')"),
        ("1 + n + s + 2", "1 + n + s", "Write str(1 + n) for text"),
        ("s * 3", "s * 3", "Write float(s) for a number"),
        ("s % n", "s % n", "s is text"),
        ("-s", "-s", "s is text"),
        ("1 + sqrt(-n)", "sqrt(-n)", "not defined for this value (-n = -3)"),
        ("(-8) ** 0.5", "(-8) ** 0.5", "not defined"),
        ("len(n)", "len(n)", "n is a number"),
        ("max(n, s)", "max(n, s)", "Write str(n)"),
        ("int(s)", "int(s)", "not defined"),
        ("startswith(n, '3')", "startswith(n, '3')", "n is a number"),
        ("abs(nothing)", "abs(nothing)", "nothing is empty"),
        ("9 ** 9 ** 9", "9 ** 9 ** 9", "too large"),
        ("n ** 1000000000", "n ** 1000000000", "too large"),
        ("round(1, -10 ** 9)", "round(1, -10 ** 9)", "too large"),
        ("exp(1000)", "exp(1000)", "too large"),
        ("10**200 * 10**200", "10**200 * 10**200", "too large"),
        ("10.0 ** 400", "10.0 ** 400", "too large"),
    ],
)
def test_what_a_row_cannot_do_names_the_part_and_its_values(
    text: str, part: str, says: str
) -> None:
    found, message = marked(text)
    assert found == part
    assert f"cannot evaluate {part}: " in message
    assert says in message


def test_text_does_not_grow_without_bounds() -> None:
    with pytest.raises(ExpressionError, match="too large"):
        parse("a + a").evaluate({"a": "x" * 900_000})
    with pytest.raises(ExpressionError, match="too large"):
        parse("int(a)").evaluate({"a": "9" * 4_000})


def test_names_are_those_used_in_order() -> None:
    expression = parse("b < a and index in [a, c] and not len(b)")
    assert expression.names == ("b", "a", "index", "c")
    assert expression == parse(expression.text)
    assert repr(expression).count("Node") == 0


def test_a_column_may_be_called_as_a_function_is() -> None:
    assert parse("len < 3 and max(len, 1) == 2", ["len"]).evaluate({"len": 2}) is True


@pytest.mark.parametrize("use", [lambda e: e.compile(["b"]), lambda e: e.evaluate({"b": 1})])
def test_a_missing_column_is_an_error(use: Callable[[Expression], Any]) -> None:
    with pytest.raises(ExpressionError, match='unknown name "a"') as caught:
        use(parse("b and a"))
    assert caught.value.offset == 6


def test_all_names_that_are_known_are_told() -> None:
    for count, told in ((12, "c11, index. "), (60, "c49 and 11 more. ")):
        with pytest.raises(ExpressionError) as caught:
            parse("zzzzzz", [f"c{n}" for n in range(count)])
        assert told in caught.value.fix


DEEP = [
    ("(", "n", ")"),
    ("-", "n", ""),
    ("not ", "n", ""),
    ("abs(", "n", ")"),
    ("2 ** ", "1", ""),
    ("n in [", "n", "]"),
    ("n or n and n < n + n * -n ** (", "n", ")"),
]


@pytest.mark.parametrize(("opening", "core", "closing"), DEEP)
def test_deep_nesting_is_refused_and_never_overflows(opening: str, core: str, closing: str) -> None:
    prefixes = max(opening.count(word) for word in ("(", "-", "not ", "**", "["))
    per_level = 3 if "or" in opening else prefixes
    fits = MAX_NESTING // per_level
    expression = parse(opening * fits + core + closing * fits)
    expression.compile(["n"])
    with pytest.raises(ExpressionError, match="nested more than 50 deep"):
        parse(opening * (fits + 1) + core + closing * (fits + 1))
    with pytest.raises(ExpressionError, match="nested more than 50 deep"):
        parse(opening * (9_000 // len(opening)) + core)


def test_the_deepest_tree_that_is_allowed_needs_few_frames() -> None:
    """Every level of operators, left and right of each of 50 brackets."""
    text = "1"
    for _ in range(MAX_NESTING):
        text = f"0 or 1 and 1 < 2 + 3 * ({text}) / 4 + 5 != 6 and 7"
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 700)
    try:
        assert parse(text).evaluate({}) == 7
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("word", ["+", "*", "and", "or", "==", "<=", "-", "/", "%"])
def test_a_long_flat_expression_is_no_nesting(word: str) -> None:
    count = (MAX_LENGTH - 1) // (len(word) + 3)
    text = "1" + f" {word} 1" * count
    assert value(text) == eval(text.replace(" ", "")) if word not in ("and", "or") else 1


# An oracle: random expressions, well typed, mean the same in Python.

NAMES = {"i": -7, "j": 4, "k": 0, "f": 2.5, "s": "ab", "t": "b'\"\\", "p": True, "q": False}


def calls(*forms: str) -> Callable[..., st.SearchStrategy[str]]:
    def build(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.sampled_from(forms).flatmap(
            lambda form: st.tuples(*parts).map(lambda given: form.format(*given))
        )

    return build


def oracle(depth: int) -> tuple[st.SearchStrategy[str], ...]:
    number = st.one_of(
        st.integers(0, 99).map(str), st.sampled_from(["i", "j", "k", "f", "0.25", "1e2", "p"])
    )
    word = st.one_of(st.text("ab'\"\\\n\t", max_size=3).map(repr), st.sampled_from(["s", "t"]))
    truth = st.sampled_from(["p", "q", "True", "False"])
    for _ in range(depth):
        number, word, truth = (
            st.one_of(
                number,
                calls(
                    "({} + {})",
                    "{} - {}",
                    "{} * {}",
                    "({} / {})",
                    "{} // {}",
                    "{} % {}",
                    "max({}, {})",
                    "min({}, {})",
                    "({} and {})",
                    "({} or {})",
                    "round({}, 1) + {}",
                )(number, number),
                calls(
                    "-{}", "abs({})", "int({})", "({})", "({}) ** 2", "2 ** ({} % 9)", "-{} ** 3"
                )(number),
                calls("len({})")(word),
            ),
            st.one_of(word, calls("{} + {}", "({} or {})")(word, word), calls("str({})")(number)),
            st.one_of(
                truth,
                calls("{} < {}", "{} == {}", "{} != {}", "{} >= {}")(number, number),
                calls("{} < {} <= {}", "{} in [{}, {}]", "{} not in ({}, {})", "({} > {} != {})")(
                    number, number, number
                ),
                calls("{} == {}", "{} in {}", "{} < {}", "{} not in [{}]", "{} in ({},)")(
                    word, word
                ),
                calls("{} and {}", "({} or {})", "{} or {} ", "not {} and {}")(truth, truth),
                calls("not {}", "({})")(truth),
            ),
        )
    return number, word, truth


def outcome(compute: Callable[[], Any]) -> str:
    try:
        found = compute()
    except (ArithmeticError, ExpressionError):
        return "error"
    if isinstance(found, complex) or (isinstance(found, int) and found.bit_length() > 1024):
        return "error"
    return repr(found)


@settings(max_examples=600, deadline=None)
@given(st.one_of(*oracle(3)))
def test_agrees_with_python(text: str) -> None:
    try:
        ast.parse(text.strip(), mode="eval")
    except SyntaxError:  # "1 + not p": ours refuses it too
        with pytest.raises(ExpressionError):
            parse(text)
        return
    scope = {
        "__builtins__": {},
        "min": min,
        "max": max,
        "abs": abs,
        "round": round,
        "int": int,
        "str": str,
        "len": len,
    }
    ours = outcome(lambda: parse(text, NAMES).evaluate(NAMES))
    theirs = outcome(lambda: eval(text.strip(), scope, dict(NAMES)))
    assert ours == theirs or (ours == "error" and "**" in text)


PIECES = [
    "n",
    "s",
    " ",
    "(",
    ")",
    "[",
    "]",
    ",",
    "not ",
    " in ",
    " and ",
    "or ",
    "1",
    "2.5",
    "'a'",
    '"',
    "'",
    "\\",
    "=",
    "==",
    "<",
    "-",
    "**",
    "*",
    "len(",
    "!",
    "||",
    "GB",
    " min",
    "true",
    "é",
    "\ud800",
]


@settings(max_examples=1500, deadline=None)
@given(
    st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=14).map("".join)),
    st.booleans(),
    st.booleans(),
)
def test_any_text_parses_or_says_where_it_does_not(text: str, units: bool, known: bool) -> None:
    row = {"n": 3, "s": "a"}
    try:
        expression = parse(text, row if known else None, units)
        expression.evaluate({name: row.get(name, 1) for name in expression.names})
    except ExpressionError as found:
        assert 0 <= found.offset < max(1, len(text))
        assert 1 <= found.width <= max(1, len(text) - found.offset)
        assert found.message


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [
            "a + b",
            "a ** b",
            "a in [b]",
            "a == b",
            "a < b",
            "a in b",
            "min(a, b)",
            "-a",
            "round(a, b)",
            "int(a)",
            "float(a)",
            "str(a)",
            "floor(a)",
            "log(a, b)",
            "a % b",
            "a in [1, 'x']",
            "a == 1",
            "len(a)",
            "startswith(a, b)",
            "a // b",
        ]
    ),
    *[
        st.one_of(
            st.integers(),
            st.floats(),
            st.text(max_size=5),
            st.booleans(),
            st.none(),
            st.lists(st.integers(), max_size=2),
            st.dates(),
        )
        for _ in "ab"
    ],
)
def test_any_value_gives_a_value_or_an_expression_error(text: str, a: Any, b: Any) -> None:
    try:
        parse(text).evaluate({"a": a, "b": b})
    except ExpressionError as found:
        assert "cannot evaluate" in found.message


def test_a_row_walks_no_tree() -> None:
    """What makes a million rows quick: compiled, its nine nodes are one call and three tests."""
    run = parse("threshold < 0.5 and n in [1, 2, 3]").compile(["index", "threshold", "n"])
    rows = [(i, (i % 10) / 20, i % 7) for i in range(1_000)]
    events: list[str] = []
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        kept = sum(map(run, rows))
    finally:
        sys.setprofile(None)
    assert kept == sum(r[1] < 0.5 and r[2] in (1, 2, 3) for r in rows)
    assert events.count("call") <= 4 * len(rows)
