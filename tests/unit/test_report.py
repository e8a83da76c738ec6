"""`osgbatch report` of a real batch: the page in a real browser, the notebook, figures, data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, ToolError, browser
from test_cli import osgbatch

from osgbatch.results.report_writing import OURS

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&lt;"
SPEC = """\
name: scan
command: [sh, task.sh, "{a}", "{b}", "{word}"]
sweep:
  zip:
    a: [1, 2, 3, 1, 2, 3, 1, 2, 3]
    b: [0.5, 0.5, 0.5, 1, 1, 1, 2, 2, 2]
    word: [one, two, HOSTILE, four, five, six, seven, eight, nine]
files: [task.sh]
outputs: [{path: outputs/*, optional: true}]
resources: {memory: 3 GB, disk: 90 MB, time: 5 min}
"""
TASK = """\
if [ "$1$2" = 32 ]; then
    echo '  <script>alert("stderr")</script>' >&2
    printf '\\033[31mred\\000\\n' >&2
    exit 7
fi
told='{"score": %s, "<b onclick=alert(2)>": 1, "text": "<i>"}'
printf "$told" "$(($1 * 10))" >outputs/metrics.json
if [ "$1$2" = 11 ]; then
    sleep 3 # else all would be alike, and none the slowest, or another one on a busy machine
    printf '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>alert(3)</script>' \
        >'outputs/a"b.svg'
    printf '<image href="http://127.0.0.1:9/x.png" width="9" height="9"/></svg>' >>'outputs/a"b.svg'
    echo '<script>alert(4)</script>' >outputs/false.png
    echo >outputs/.png
fi
"""


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch that has ended and was collected: nine tasks, of which one has failed."""
    here = tmp_path_factory.mktemp("report")
    (here / "sweep.yaml").write_text(SPEC.replace("HOSTILE", json.dumps(HOSTILE)))
    (here / "task.sh").write_text(TASK)
    said = osgbatch("submit", "--pool", "local", "--json", "sweep.yaml", cwd=here)
    folder = Path(json.loads(said.stdout)["folder"])
    osgbatch("watch", folder, cwd=here)
    osgbatch("collect", folder, cwd=here)
    # As a gather script would leave them; what is no picture of ours is not embedded.
    (folder / "results" / "all.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (folder / "results" / "linked.svg").symlink_to("/etc/passwd")
    return folder


def report(batch: Path, *arguments: str | Path, code: int = 1) -> str:
    done = osgbatch("report", batch, *arguments, cwd=batch.parents[1])
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def page(batch: Path) -> Path:
    """The page of that batch."""
    assert report(batch) == (
        f"8 of 9 tasks succeeded; 1 did not.\nreport: {batch}/results/report.html\n"
    )
    return batch / "results" / "report.html"


@pytest.fixture(scope="module")
def data(batch: Path) -> dict[str, Any]:
    """The same as data."""
    found: dict[str, Any] = json.loads(report(batch, "--json"))
    return found


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    """A browser."""
    try:
        with browser() as made:
            yield made
    except ToolError as error:
        pytest.skip(f"no Chromium: {error}")


class Tags(HTMLParser):
    """The tags of a page with their attributes, and what is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_in_the_page_is_loaded_or_obeyed(page: Path) -> None:
    text = page.read_text()
    tags = Tags(text).found
    assert [tag for tag, _ in tags].count("script") == 1
    for tag, attributes in tags:
        assert tag not in ("iframe", "object", "embed", "link", "base", "form", "image", "use")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/")
    assert HOSTILE not in text
    assert len(re.findall(r"alert\(\d\)", text)) > 0  # it is told, as text
    policy = next(a["content"] for tag, a in tags if "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_the_page_tells_the_batchs_numbers(page: Path, data: dict[str, Any], tab: Browser) -> None:
    tab.open(page)
    text = tab.ask("document.body.innerText")
    assert tab.ask("document.getElementById('verdict').innerText") == data["verdict"]
    assert "8 of 9 tasks succeeded; 1 did not." in text
    assert "1 failed: exit code 7" in text and "Task 8" in text
    assert '  <script>alert("stderr")</script>' in text  # with its blanks
    assert "\ufffd[31mred" in text
    rows = tab.ask("[...document.querySelectorAll('#sizing tbody tr')].map(r => r.innerText)")
    assert [row.split("\t")[:2] for row in rows] == [
        ["memory", "3 GB"], ["disk", "90 MB"], ["time", "5 min"],
    ]  # fmt: skip
    suggested = tab.ask("document.getElementById('suggested').innerText")
    assert suggested.strip() == data["resources"].strip()
    assert [one["suggested"] for one in data["sized"]] == [64 * 2**20, 64 * 2**20, 60]
    places = tab.ask("document.querySelector('#places tbody tr').innerText").split("\t")
    assert places[1:3] == ["9", "1 (11 %)"]
    pictures = tab.ask("[...document.images].map(i => [i.alt, i.complete && i.naturalWidth > 0])")
    assert pictures == [["all.svg", True], ['task 3: a"b.svg', True]]
    assert sum(data["endings"]["counts"]["failed"]) == 1
    assert sum(data["endings"]["counts"]["succeeded"]) == 8
    at_the_end = {kind: counts[-1] for kind, counts in data["levels"]["counts"].items()}
    assert {kind: n for kind, n in at_the_end.items() if n} == {"succeeded": 8, "failed": 1}
    assert tab.complaints == []


def test_a_metric_is_chosen_and_without_scripts_the_first_is_shown(
    page: Path, data: dict[str, Any], tab: Browser
) -> None:
    shown = "[...document.querySelectorAll('[data-chart]')].map(f => f.offsetHeight > 0)"
    names = [chart["metric"] for chart in data["charts"]]
    assert names == ["score", "<b onclick=alert(2)>", "run time", "memory", "disk"]
    score = data["charts"][0]
    means = {(cell["column"], cell["row"]): cell["mean"] for cell in score["cells"]}
    assert means[0, 0] == 10 and means[2, 1] == 30 and score["missing"] == [[2, 2]]
    tab.open(page)
    assert tab.ask("[...choice.options].map(o => o.text)") == names
    assert tab.ask(shown) == [True, False, False, False, False]
    tab.ask("choice.value = '4'; choice.dispatchEvent(new Event('change'))")
    assert tab.ask(shown) == [False, False, False, True, False]
    tab.open(page, script=False)
    assert tab.ask(shown) == [True, False, False, False, False]
    assert tab.ask("document.getElementById('choice').offsetHeight") == 0
    assert tab.complaints == []


def test_a_phone_and_the_dark_show_it_whole(page: Path, tab: Browser, tmp_path: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    right = "s => s.getBoundingClientRect().right"
    wide = f"Math.max(...[...document.querySelectorAll('svg')].map({right}))"
    texts = "[...document.querySelectorAll('svg text')].filter(t => t.getClientRects().length)"
    small = f"Math.min(...{texts}.map(t => t.getBoundingClientRect().height))"
    for width in (320, 375, 800, 1400):
        tab.open(page, width)
        assert tab.ask("document.documentElement.scrollWidth") <= width
        assert tab.ask(wide) <= width
        assert tab.ask(small) >= 10
    assert tab.ask(paper) == "rgb(255, 255, 255)"
    tab.open(page, 375, dark=True)
    suggested = "[...document.querySelectorAll('#sizing td.last')]"
    assert tab.ask(f"Math.max(...{suggested}.map({right}))") <= 375
    texts = "[...document.querySelectorAll('#extremes td.s')].filter(t => t.firstChild)"
    count = "r.selectNodeContents(t), r.getClientRects().length"
    rows = f"(() => {{const r = document.createRange(); return {texts}.map(t => ({count}))}})()"
    assert set(tab.ask(rows)) == {1}  # no number is broken in two
    assert tab.ask(paper) == "rgb(22, 25, 29)"
    tab.picture(tmp_path / "phone.png")
    tab.print(tmp_path / "page.pdf")
    assert (tmp_path / "phone.png").stat().st_size > 10_000
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert tab.complaints == []


def test_a_notebook_text_and_only_the_sizing(batch: Path, tmp_path: Path) -> None:
    path = tmp_path / "note book.md"
    report(batch, "--md", path)
    text = path.read_text()
    assert text.startswith("<!-- a report by osgbatch -->\n\n# scan\n\n**8 of 9 tasks")
    assert '\n```\n  <script>alert("stderr")</script>\n' in text
    outside = "".join(text.split("```")[::2])
    assert not re.search(r"(?<!\\)<(?!!-- a report)", outside)
    report(batch, "--md", path)  # its own may be written anew
    told = report(batch, "--sizing")
    assert "memory  3 GB" in told
    assert told.endswith("resources:\n  cpus: 1\n  memory: 64 MB\n  disk: 64 MB\n  time: 1 min\n")
    assert "Less than 64 MB of memory or disk, or than a minute, is never" in told
    assert (
        "\n| metric | least | median | most |\n| --- | --- | --- | --- |\n| score | 10 | " in text
    )
    assert "\n## The slowest tasks\n" in text  # none took memory or disk worth a table
    for option in ("--out", "--md", "--png"):
        done = osgbatch("report", batch, "--sizing", option, tmp_path / "x", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "") and option in done.stderr
    found = json.loads(report(batch, "--sizing", "--json"))
    assert [one["name"] for one in found["found"]] == ["memory", "disk", "time"]


def test_files_of_others_are_never_written_over(batch: Path, tmp_path: Path) -> None:
    mine = tmp_path / "thesis.html"
    page = "<!doctype html>\n<title>osgbatch report</title>\n"
    meta = '<meta name="generator" content="osgbatch 1">\n'
    for option, text in (
        ("--out", page + meta),
        ("--md", "# My sweep\n\n<!-- a report by osgbatch -->\nmade with osgbatch\n"),
    ):
        mine.write_text(text)
        done = osgbatch("report", batch, option, mine, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "this file is there already, and is no report of osgbatch" in done.stderr
        assert mine.read_text() == text
    page_of_ours = tmp_path / "ours.html"
    report(batch, "--out", page_of_ours)
    report(batch, "--out", page_of_ours)  # its own may be written anew
    done = osgbatch("report", batch, "--out", tmp_path, cwd=tmp_path)
    assert done.returncode == 2 and "this is a folder" in done.stderr
    done = osgbatch("report", batch, "--out", tmp_path / "no" / "x.html", cwd=tmp_path)
    assert done.returncode == 2 and f"{tmp_path}/no: there is no such folder" in done.stderr


def test_figures_are_drawn_and_without_matplotlib_that_is_said(batch: Path, tmp_path: Path) -> None:
    told = report(batch, "--png", tmp_path / "figures")
    made = sorted((tmp_path / "figures").iterdir())
    assert told.count("\nfigure: ") == len(made)
    wanted = {"states", "levels", "endings", "lanes", "used-memory", "score-over-a-b"}
    assert wanted <= {path.stem for path in made}
    for path in made:
        assert re.fullmatch(r"[a-z0-9-]+\.png", path.name)
        assert path.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "none" / "matplotlib").mkdir(parents=True)
    (tmp_path / "none" / "matplotlib" / "__init__.py").write_text("raise ImportError('none')")
    done = osgbatch(
        "report",
        batch,
        "--png",
        tmp_path / "other",
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path / "none"),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "osgbatch[report]"' in done.stderr
    done = osgbatch("report", batch, "--png", batch / "sweep.yaml" / "x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{batch}/sweep.yaml: this is a file, and no folder" in done.stderr
    assert all(OURS["figure"].match(path.read_bytes()) for path in made)
    assert not OURS["figure"].match(b"\x89PNG\r\n\x1a\n of osgbatch")
    assert not (tmp_path / "other").exists()


def test_a_batch_that_has_not_ended_says_so(tmp_path: Path, tab: Browser) -> None:
    (tmp_path / "sweep.yaml").write_text("command: [sh, -c, 'sleep {n}']\nsweep: {n: [0, 60]}\n")
    said = osgbatch("submit", "--pool", "local", "--json", "sweep.yaml", cwd=tmp_path)
    folder = Path(json.loads(said.stdout)["folder"])
    try:
        osgbatch("report", folder, "--out", "now.html", cwd=tmp_path)
        tab.open(tmp_path / "now.html")
        assert "had not ended" in tab.ask("document.getElementById('running').innerText")
        assert "not ended." in tab.ask("document.getElementById('verdict').innerText")
    finally:
        osgbatch("cancel", folder, "--yes", cwd=tmp_path)
    done = osgbatch("report", folder, "--md", "then.md", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    text = (tmp_path / "then.md").read_text()
    assert "had not ended" not in text and "removed" in text
    assert tab.complaints == []


def test_a_batch_of_which_nothing_is_known_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("command: 'true'\nsweep: {n: [1]}\n")
    rendered = osgbatch("render", "--out", "batches/b", "sweep.yaml", cwd=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    done = osgbatch("report", "batches/b", "--md", "b.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 of 1 task succeeded; 1 has not ended." in (tmp_path / "b.md").read_text()
