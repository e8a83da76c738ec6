"""Scripts: whatever a value holds, bash gets it as data, in every place of a script."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osgbatch.errors import SpecError
from osgbatch.spec.scripts import parse_script
from osgbatch.spec_model import Place, Script

PLACE = Place("sweep.yaml", 3, 1, "script: |")
NASTY = [
    "plain", "", " two  words ", "it's", "'\"'\"'", "$(touch made) `touch made`", "*", "[a-z]?",
    "a\nb", "a\n", "\n", "\t", "-n", "--", "\\", "\\n a\\", "{y} {{x}} {1..2}", "${HOME} $HOME $",
    "!!", "# no", "~", "ünïcode 😀", ";touch made;", "&& touch made |", "EOF", "a'; touch made; '",
    '"; touch made; "', "$((1+1))", "&", "])}", "a[$(touch made)]", "x=1",
    "\x01\x7f", "\r", "%s", "<(touch made)", "@",
]  # fmt: skip

ECHO = "printf '%s\\0' "
Shown = Callable[[str], list[str]]


def same(value: str) -> list[str]:
    return [value]


def stripped(value: str) -> list[str]:
    """What `$(...)` leaves: it takes line breaks off the end."""
    return [value.rstrip("\n")]


# Each place that a placeholder can stand in, and what the program then gets.
PLACES: dict[str, tuple[str, Shown]] = {
    "a word": (ECHO + "{x}", same),
    "part of a word": (ECHO + "out-{x}.txt", lambda v: [f"out-{v}.txt"]),
    "twice in a word": (ECHO + "{x}{x}", lambda v: [v + v]),
    "double quotes": (ECHO + '"a {x} b"', lambda v: [f"a {v} b"]),
    "alone in double quotes": (ECHO + '"{x}"', same),
    "single quotes": (ECHO + "'a {x} b'", lambda v: [f"a {v} b"]),
    "alone in single quotes": (ECHO + "'{x}'", same),
    "ansi quotes": (ECHO + "$'a\\t{x}\\'b'", lambda v: [f"a\t{v}'b"]),
    "translated quotes": (ECHO + '$"a {x}"', lambda v: [f"a {v}"]),
    "after quotes": (ECHO + "'a'{x}\"b\"", lambda v: [f"a{v}b"]),
    "after backslashes": (ECHO + '"\\\\{x}" \\\\{x}', lambda v: ["\\" + v, "\\" + v]),
    "after a literal": (ECHO + "{{x}} {x}", lambda v: ["{x}", v]),
    "in braces": (ECHO + "{{{x}}}", lambda v: [f"{{{v}}}"]),
    "brace expansion": (ECHO + "{1..2}{x} {a,b}", lambda v: ["1" + v, "2" + v, "a", "b"]),
    "alternatives": (ECHO + "{a,{x}}", lambda v: ["a", v]),
    "assignment": ('v={x}; w="{x}"\n' + ECHO + '"$v" "$w"', lambda v: [v, v]),
    "environment": ("V={x} sh -c 'printf \"%s\\0\" \"$V\"'", same),
    "array": ("a=(p {x}\n {x})\n" + ECHO + '"${#a[@]}" "${a[@]}"', lambda v: ["3", "p", v, v]),
    "appended array": ("a=(p)\na+=({x})\n" + ECHO + '"${a[@]}"', lambda v: ["p", v]),
    "array element": ('a[2]={x}\n' + ECHO + '"${a[2]}"', same),
    "associative array": ("declare -A m=([k]={x})\n" + ECHO + '"${m[k]}"', same),
    "export": ("export V={x}\n" + ECHO + '"$V"', same),
    "local": ("f() { local v={x}; " + ECHO + '"$v"; }\nf', same),
    "function argument": ("f() { " + ECHO + '"$@"; }\nf {x} b', lambda v: [v, "b"]),
    "group": ("{ " + ECHO + "{x}; }", same),
    "subshell": ("( " + ECHO + "{x} )", same),
    "for": ("for v in {x} b; do " + ECHO + '"$v"; done', lambda v: [v, "b"]),
    "if": ("if true; then " + ECHO + "{x}; else echo {x}; fi", same),
    "default": (ECHO + "${none:-{x}}", same),
    "default without colon": (ECHO + "${none-a{x}b}", lambda v: [f"a{v}b"]),
    "default in double quotes": (ECHO + '"${none:-a {x}}"', lambda v: [f"a {v}"]),
    "quoted default": (ECHO + '"${none:-"{x}"}"', same),
    "assigned default": (': "${v:={x}}"\n' + ECHO + '"$v"', same),
    "alternative": (ECHO + '"${HOME+{x}}"', same),
    "prefix": ("v=k{x}e\n" + ECHO + '"${v#k{x}}" ${v#k{x}}', lambda v: ["e", "e"]),
    "quoted prefix": ('v=k{x}e\n' + ECHO + '"${v#"k{x}"}"', lambda v: ["e"]),
    "suffix": ("v=k{x}e\n" + ECHO + '"${v%%{x}e}"', lambda v: ["k"]),
    "replaced": ("v='<>'\n" + ECHO + '"${v/>/{x}}"', lambda v: ["<" + v]),
    "substitution": (ECHO + '"$(printf %s {x})"', stripped),
    "nested substitution": (
        ECHO + '"a$(printf %s "b$(printf %s "{x}")")"',
        lambda v: ["ab" + v.rstrip("\n")],
    ),
    "case in a substitution": (
        ECHO + '"$(case a in b) ;; a) printf %s {x} ;; esac)" \'{x}\'',
        lambda v: [v.rstrip("\n"), v],
    ),
    "backticks": (ECHO + '"`printf %s {x}`"', stripped),
    "process substitution": ("cat <(" + ECHO + "{x})", same),
    "pipe": ("printf %s {x} | { cat; printf '\\0'; }", same),
    "here-string": ("cat <<< {x}; printf '\\0'", lambda v: [v + "\n"]),
    "here-document": (
        "cat <<EOF\na {x} 'b' \"{x}\"\nEOF\nprintf '\\0'",
        lambda v: [f"a {v} 'b' \"{v}\"\n"],
    ),
    "indented here-document": ("cat <<-EOF\n\t{x}\n\tEOF\nprintf '\\0'", lambda v: [v + "\n"]),
    "two here-documents": (
        "cat <<A; cat <<'B'; " + ECHO + "{x}\n{x}\nA\n{x}\nB\n" + ECHO + "{x}",
        lambda v: [f"{v}\n{{x}}\n{v}", v],
    ),
    "substitution in a here-document": (
        "cat <<EOF\n$(printf %s {x})${none:-{x}}\nEOF\nprintf '\\0'",
        lambda v: [v.rstrip("\n") + v + "\n"],
    ),
    "here-document in a substitution": (
        "v=$(cat <<EOF\n{x}.\nEOF\n)\n" + ECHO + '"$v" {x}', lambda v: [v + ".", v]
    ),
    "python in a here-document": (
        "python3 - {x} <<'EOF'\nx = 7\nprint(f'{x}{{x}}', end='\\0')\nEOF",
        lambda v: ["7{x}"],
    ),
    "case": ("case {x} in\n {x}) " + ECHO + "yes {x};;\n *) exit 9;;\nesac", lambda v: ["yes", v]),
    "test": ("[[ {x} == {x} && ! {x} != {x} ]]\n" + ECHO + "{x}", same),
    "test pattern": ("[[ a{x}b == *{x}b ]]\n" + ECHO + "{x}", same),
    "test command": ('[ {x} = "{x}" ]\n' + ECHO + "{x}", same),
    "after a comment": ("# don't {y} \"`\n" + ECHO + "{x} # isn't {y}", same),
    "after an escaped line": (ECHO + "a \\\n# don't\n" + ECHO + "{x}", lambda v: ["a", v]),
    "not a comment": (
        "set -- a b; " + ECHO + "$# ${#} a#b' {x}'",
        lambda v: ["2", "2", f"a#b {v}"],
    ),
    "lengths": (
        "a=(1 2); v=abc; " + ECHO + "${#a[@]} ${#v} ${v#a} {x}",
        lambda v: ["2", "3", "bc", v],
    ),
    "after arithmetic": ("(( 1 << 2 )); " + ECHO + "$(( 1 << 2 )) {x}", lambda v: ["4", v]),
    "shell's argument": ("bash -c 'printf \"%s\\0\" \"$1\"' bash {x}", same),
    "awk": (ECHO + "\"$(echo a b | awk '{print $2}' )\" {x}", lambda v: ["b", v]),
    "literal awk": (ECHO + "\"$(echo a b | awk '{{print}}')\" {x}", lambda v: ["a b", v]),
    "find": ("find . -maxdepth 0 -exec printf '%s\\0' {} -{x} \\;", lambda v: [".", f"-{v}"]),
}  # fmt: skip


def run(script: Script, folder: Path, **values: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script as the shim does, with the variables that it asked for."""
    file = folder / "script"
    file.write_text(script.text, newline="")
    assert set(script.names) <= set(values)
    variables = {f"OSGBATCH_PARAM_{name}": values[name] for name in script.names}
    return subprocess.run(
        ["bash", "-eo", "pipefail", str(file)],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LC_ALL": "C.UTF-8"} | variables,
        capture_output=True,
        check=False,
    )


def shown(text: str, folder: Path, **values: str) -> list[str]:
    done = run(parse_script(text, PLACE), folder, **values)
    assert done.stderr == b"", done.stderr.decode()
    assert done.returncode == 0
    assert sorted(p.name for p in folder.iterdir()) == ["script"]  # no value was run
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("place", PLACES)
def test_a_value_arrives_as_it_is_in_every_place(place: str, tmp_path: Path) -> None:
    text, expected = PLACES[place]
    for value in NASTY:
        assert shown(text, tmp_path, x=value) == expected(value), value


MOST = [(text, words) for place, (text, words) in PLACES.items() if "python" not in place]
ALL = "".join(f"(\n{text}\n)\n" for text, _ in MOST).replace(
    "printf '%s\\0' ", "env printf '%s\\0' "
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
)
def test_any_value_survives_every_place_in_one_script(tmp_path: Path, value: str) -> None:
    expected = [word for _, words in MOST for word in words(value)]
    assert shown(ALL, tmp_path, x=value) == expected


@pytest.mark.parametrize(
    "text",
    [
        "echo {x y} {} { } {1} {1..3} {a,b} {-x}",
        "f() { echo hi; }\nf",
        "{ echo a; }",
        "echo ${HOME} ${x} ${x:-y} ${#x} ${!x} $${x}",
        "awk '{print $1}' f",
        "echo \\{x} \"\\{x}\" '\\{x}' $'\\{x}'",
        "# {x}\necho a # {x}",
        "cat <<'EOF'\n{x} {{x}}\nEOF",
        'cat <<"EOF"\n{x}\nEOF',
        "cat <<\\EOF\n{x}\nEOF",
        "cat <<-'EOF'\n\t{x}\n\tEOF",
    ],
)
def test_what_is_no_placeholder_stays(text: str) -> None:
    assert parse_script(text, PLACE) == Script(text, (), PLACE, written=text)


def test_names_are_told_once_in_order() -> None:
    script = parse_script("echo {b} {a} '{b}' {{c}} \\{d} # {e}\n", PLACE)
    assert script.names == ("b", "a")
    assert script.place == PLACE


def test_crlf_becomes_lf(tmp_path: Path) -> None:
    text = ECHO + "{x}\r\ncat <<EOF\r\n{x}\r\nEOF\r\nprintf '\\0'\r\n"
    assert shown(text, tmp_path, x="a") == ["a", "a\n"]


CALCULATIONS = [
    ("$(( ))", ECHO + "$(( {x} * 2 ))"),
    ("$(( )) in quotes", ECHO + '"$(( ({x} + {x}) ))"'),
    ("(( ))", "(( v = {x} * 2 )) || true\n" + ECHO + "$v"),
    ("$[ ]", ECHO + "$[{x} * 2]"),
    ("for (( ))", "for ((i = 0; i < {x} * 2; i++)); do :; done\n" + ECHO + "$i"),
    ("here-document", "cat <<EOF\n$(( {x} * 2 ))\nEOF"),
    ("test", "if [[ {x} -eq 4 ]]; then " + ECHO + "8; fi"),
    ("test, other side", "if [[ 4 -le {x} && a == a ]]; then " + ECHO + "8; fi"),
    ("test in quotes", 'if [[ ( "{x}" -ge 4 ) ]]; then ' + ECHO + "8; fi"),
    ("index", "a=(0 1 2 3 8)\n" + ECHO + '"${a[{x}]}"'),
    ("index of an assignment", "a[{x}]=8\n" + ECHO + '"${a[4]}"'),
    ("index in an array", "a=([{x}]=8)\n" + ECHO + '"${a[4]}"'),
    ("substring", "v=abcd8ef\n" + ECHO + '"${v:{x}:1}"'),
    ("substring's length", "v=00008\n" + ECHO + "${v: -1:{x}-3}"),
    ("let", "let v={x}*2\n" + ECHO + "$v"),
    ("quoted let", 'let "v = {x} * 2"\n' + ECHO + "$v"),
    ("declare -i", "declare -i v={x}*2\n" + ECHO + "$v"),
    ("declared before", "declare -i v\nv={x}*2\n" + ECHO + "$v"),
    ("default that is calculated", ECHO + "$(( ${none:-{x}} * 2 ))"),
]


@pytest.mark.parametrize(("text"), [t for _, t in CALCULATIONS], ids=[n for n, _ in CALCULATIONS])
def test_bash_calculates_with_whole_numbers_only(text: str, tmp_path: Path) -> None:
    script = parse_script(text, PLACE)
    done = run(script, tmp_path, x="4")
    assert done.stdout.decode().rstrip("\0\n") == "8", done.stderr.decode()
    for value in ("a[$(touch made)]", "PATH", "", "1.5", "4 + 4", "x[`touch made`]", "4\n"):
        done = run(script, tmp_path, x=value)
        assert done.returncode != 0
        assert b"bash calculates with x, so it must be a whole number" in done.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("value", ["-5", "+5", "0", "0x1F", "0010"])
def test_every_whole_number_can_be_calculated_with(value: str, tmp_path: Path) -> None:
    expected = str(100 - int(value, 0 if "x" in value else 10))
    base = "" if "x" in value or value[0] in "+-" else "10#"
    assert shown(f"{ECHO} $(( 100 -{base}{{x}} ))", tmp_path, x=value) == [expected]


def test_an_index_of_an_associative_array_may_be_any_text(tmp_path: Path) -> None:
    text = "declare -A m n\nm[{x}]=1\n" + ECHO + '"${!m[@]}" "${m[{x}]}"'
    for value in ("two words", "a[$(touch made)]", "it's", "$(touch made)"):
        assert shown(text, tmp_path, x=value) == [value, "1"]


def test_a_message_of_bash_names_the_line_of_the_script(tmp_path: Path) -> None:
    done = run(parse_script("true\ntrue\necho $(( {x} ))\n", PLACE), tmp_path, x="no")
    assert b"script: line 3: " in done.stderr


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("eval echo {x}", "eval would read the value of {x} as code, in line 1 of the script"),
        ('true\nbuiltin eval "echo {x}"', "eval would read the value of {x} as code, in line 2"),
        ("trap 'rm {x}' EXIT", "trap would read"),
        ("bash -c 'echo {x}'", "bash -c would read"),
        ("timeout 5 /bin/sh -ec \"echo {x}\"", "sh -ec would read"),
        ("cat <<E\n\n$(sh -c 'echo {x}')\nE", "value of {x} as code, in line 3"),
        ("\\eval {x}", "eval would read"),
        ('"eval" {x}', "eval would read"),
        ("ev'a'l {x}", "eval would read"),
        ("2>/dev/null >out eval {x}", "eval would read"),
        ("V=1 command -p eval {x}", "eval would read"),
        ("function f { eval {x}; }", "eval would read"),
        ("echo $(( $(eval {x}) ))", "eval would read"),
        ("bash -O extglob -c {x}", "bash -O extglob -c would read"),
        ("'bash' -c {x}", "bash -c would read"),
        ("bash <<EOF\necho\n  echo {x}\nEOF", "value of {x} as code, in line 3"),
        ("bash <<-EOF -e | cat\n\techo '{x}'\n\tEOF", "bash would read"),
        ("<<EOF timeout 5 sh -s a\n{x}\nEOF", "sh would read"),
        (". /dev/stdin <<EOF\n{x}\nEOF", ". would read"),
        ("bash <<< {x}", "bash would read"),
        ("true\nbash -x <<< \"echo {x}\" | cat", "value of {x} as code, in line 2"),
        ("alias ll={x}", "alias would read"),
        ("set -x; PS4={x}", "PS4 would read"),
        ("export BASH_ENV={x}", "BASH_ENV would read"),
        ("env BASH_ENV={x} bash a.sh", "BASH_ENV would read"),
        ("compgen -C {x}", "compgen would read"),
        ("compgen -W {x}", "compgen would read"),
        ("mapfile -C {x} -c 1 a", "mapfile -C would read"),
        ("declare -a v={x}", "declare of an array would read"),
        ("v=(1 2)\ndeclare v={x}", "declare of an array would read"),
        ("f() { local -A v; local v={x}; }", "local of an array would read"),
        ("[[ -v {x} ]]", "[[ -v would take the value of {x} for a variable's name"),
        ("[[ a == a && ! -v {x} ]]", "[[ -v would take"),
        ("test -v {x}", "test -v would take"),
        ("[ -v {x} ]", "[ -v would take"),
        ("printf -v {x} a", "printf -v would take"),
        ("read {x} <<< 1", "read would take"),
        ("read -r 'a[{x}]' <<< 1", "read would take"),
        ("mapfile -t {x}", "mapfile would take"),
        ("unset {x}", "unset would take"),
        ("declare {x}", "declare would take"),
        ("declare {x}=1", "declare would take"),
        ('declare -A m; declare "m[{x}]=1"', "declare would take"),
        ("declare -A m; declare m[{x}]=1", "declare would take"),
        ("f() { local -n r={x}; }", "local -n would take"),
    ],
)  # fmt: skip
def test_a_value_is_not_given_to_a_shell_as_code(text: str, what: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_script(text, PLACE)
    assert what in str(error.value)
    assert error.value.fix
    assert error.value.place == PLACE


@pytest.mark.parametrize(
    "text",
    [
        'eval "$(tool {x})"',
        "bash run.sh -c {x}",
        "bash -c 'echo \"$1\"' bash {x}",
        "trap 'rm -f \"$f\"' EXIT; echo {x}",
        "echo eval {x}",
        "words=(eval {x})",
        "bash -s -- {x} <<'EOF'\necho \"$1\"\nEOF",
        "bash run.sh <<< {x}",
        "bash run.sh <<EOF\n{x}\nEOF",
        "cat <<EOF\n{x}\nEOF\nbash run.sh",
        "cat > eval {x}",
        "printf '%s' -v {x}",
        "printf -v v '%s' {x}",
        "read -r v <<< {x}",
        "read -p {x} -d '' v",
        "echo read {x}",
        "command -v {x}",
        "[[ {x} == -v ]]",
        "test -f {x}",
        "export A={x} B={x}",
        "declare -r v={x}",
        "declare -a v=({x})",
        "readonly v={x}",
        "a=(1 2); a+=({x}); b={x}",
        "PS41={x}",
        "cat < <(printf %s {x}) 2> {x}.log",
        "[[ a < {x} ]]",
        "alias ll='ls -l'; ll {x}",
    ],
)
def test_a_value_that_is_no_code_is_not_refused(text: str) -> None:
    assert parse_script(text, PLACE).names == ("x",)


ATTACKS = [
    "a[$(touch made)]",
    "a[$(touch made)]=1",
    "([0]=$(touch made))",
    "$(touch made)",
    "touch made",
]


@pytest.mark.parametrize(
    "text",
    [
        "eval {x}", "read {x} <<< 1", "printf -v {x} 1", "test -v {x}", "[[ -v {x} ]]",
        "declare {x}", "declare -a v={x}", "v=(1); declare v={x}", "declare -n r={x}; echo $r",
        'declare -A m; m[{x}]=1; unset "m[{x}]"', "bash <<< {x}", "bash <<EOF\n{x}\nEOF",
        "PS4={x}; set -x; true", "bash -c {x}", "compgen -W {x}",
    ],
)  # fmt: skip
def test_what_is_refused_would_have_run_a_value(text: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        parse_script(text, PLACE)
    plain = text if "EOF" in text else text.replace("{x}", '"$X"').replace('""$X""', '"$X"')
    plain = plain.replace('m["$X"]"', 'm[$X]"').replace("{x}", "$X")
    for attack in ATTACKS:
        subprocess.run(
            ["bash", "-c", plain], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "X": attack},
            capture_output=True, check=False,
        )  # fmt: skip
    assert (tmp_path / "made").exists(), "refused for nothing"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("for i in {1..{x}}; do echo $i; done", "Write $(seq 1 {x})."),
        ("echo run-{0..{x}}.txt", "Write $(seq 0 {x})."),
        ("echo {{x}..10}", "Write $(seq 1 {x})."),
        ("echo {1..10..{x}}", "Write $(seq 1 {x})."),
    ],
)
def test_a_series_that_bash_would_not_make_is_refused(text: str, fix: str) -> None:
    with pytest.raises(SpecError, match="bash makes no series with") as error:
        parse_script(text, PLACE)
    assert error.value.fix == fix


@pytest.mark.parametrize(
    "text",
    ["echo {a..{x},b}/../c", "ls ../{x}..", "echo {1..3}{x}", 'echo "{1..{x}}"', "ls {{x},..}"],
)
def test_what_only_looks_like_a_series_is_not_refused(text: str) -> None:
    parse_script(text, PLACE)


@pytest.mark.parametrize("text", ["", " \n\t\r\n"])
def test_an_empty_script_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="the script is empty") as error:
        parse_script(text, PLACE)
    assert "script: |" in error.value.fix


def test_a_nul_is_refused_with_its_line() -> None:
    with pytest.raises(SpecError, match="NUL character, in its line 2"):
        parse_script("echo a\r\necho \0", PLACE)


@settings(max_examples=300, deadline=None)
@given(st.text("{}x$'\"`\\()[]#<>=-:;|&@/ \n\tEOFcaseinsac", min_size=1, max_size=60))
def test_no_text_stops_the_scanner_or_loses_a_character(text: str) -> None:
    """Whatever stands in a script, it comes back with nothing but its placeholders replaced."""
    if not text.strip():
        return
    try:
        script = parse_script(text, PLACE)
    except SpecError:
        return
    if not script.names and "{{" not in text:
        assert script.text == text
