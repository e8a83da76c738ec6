#!/usr/bin/env python3
"""Makes docs/images/: the tutorial, typed into a real terminal in a real pool, and its report.

`screenshots.py` starts a pool, in which `screenshots.py --in-pool FOLDER` types and captures. A
terminal becomes SVG, a page of the browser PNG. Needs tmux.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / "tests" / "unit")]

import pages  # noqa: E402

IMAGES = CHECKOUT / "docs" / "images"
TUTORIAL = CHECKOUT / "docs" / "tutorial.md"
EXAMPLE = CHECKOUT / "examples" / "find_peaks"
COLUMNS, ROWS = 80, 40
SECONDS = 120.0
REPORT_WIDTH, REPORT_HEIGHT = 1000, 1500
COLORS = 128  # of a PNG's palette
LARGEST = 300_000  # bytes of a picture
MARGIN = 12
SHOWN = 664  # pixels that a terminal is wide on a page: its letters are then those of code
CHARACTER, LINE = 12.2, 24.4  # the width and height that rich gives to one
TERMINAL = """\
<svg xmlns="http://www.w3.org/2000/svg" width="SHOWN" viewBox="0 0 WIDTH HEIGHT">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect fill="#fff" stroke="#bbb" stroke-width="2" x="1" y="1" width="INNER_WIDTH"
 height="INNER_HEIGHT" rx="8"/>
<g transform="translate(MARGIN, MARGIN)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own, without the frame of a window, and without the font that it would load."""


class Terminal:
    """A terminal of 80 columns with a shell in it, by tmux."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._tmux = ["tmux", "-f", os.devnull, "-S", str(folder / "tmux")]
        self._run(
            "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS),
            "exec env 'PS1=$ ' bash --noprofile --norc", folder=folder, environment=environment,
        )  # fmt: skip
        self.until(lambda text: text.rstrip().endswith("$"))

    def _run(
        self, *words: str, folder: Path | None = None, environment: dict[str, str] | None = None
    ) -> str:
        done = subprocess.run(
            [*self._tmux, *words], cwd=folder, env=environment,
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def screen(self) -> str:
        """What it shows, with colours, without the empty lines at the end."""
        return self._run("capture-pane", "-e", "-p").rstrip() + "\n"

    def until(self, seen: Callable[[str], bool]) -> str:
        """Wait until the text on it is so; returns the screen."""
        end = time.monotonic() + SECONDS
        while True:
            screen = self.screen()
            text = re.sub(r"\x1b\[[0-9;]*m", "", screen)
            if seen(text):
                return screen
            if time.monotonic() > end:
                raise SystemExit(f"screenshots: this never came:\n{text}")
            time.sleep(0.1)

    def type(self, command: str, seen: Callable[[str], bool] | None = None) -> str:
        """Type a command on an empty screen; returns the screen when it has ended, or is so."""
        self._run("send-keys", "-R", ";", "clear-history")
        self._run("send-keys", "C-l")
        self.until(lambda text: text.strip() == "$")
        self._run("send-keys", "-l", command)
        self._run("send-keys", "Enter")
        if seen:
            return self.until(seen)
        screen = self.until(lambda text: text.count("\n") > 1 and text.rstrip().endswith("\n$"))
        return screen.rstrip().rpartition("\n")[0] + "\n"

    def wait(self) -> None:
        """Until the command has ended."""
        self.until(lambda text: text.rstrip().endswith("\n$"))

    def close(self) -> None:
        """End the shell, and tmux with it."""
        subprocess.run([*self._tmux, "kill-server"], check=False)


def capture(folder: Path) -> None:
    """In a pool: do the tutorial, and leave NAME.ansi, report.html and peaks.png in folder."""
    work = folder / "peaks"
    work.mkdir()
    for name in ("data", "waveshape", "find_peaks.py", "gather.py", "requirements.txt"):
        source = EXAMPLE / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, work / name)  # type: ignore[operator]
    for step in pages.steps(TUTORIAL):
        if isinstance(step, pages.Step) and step.file == "sweep.yaml":
            (work / step.file).write_text(step.content)
    (work / "data/3.npy").write_bytes((work / "data/3.npy").read_bytes()[:200])
    (folder / "osgbatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m osgbatch "$@"\n')
    (folder / "osgbatch").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(CHECKOUT),
        "OSGBATCH_PROFILE": "generic", "XDG_STATE_HOME": str(folder / "state"),
        "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    for name in ("COLUMNS", "LINES", "TMUX", "NO_COLOR"):
        environment.pop(name, None)
    terminal = Terminal(folder, environment)
    try:
        terminal.type(f"cd {shlex.quote(str(work))}")
        # Small jobs, few at a time, so that there is something to watch.
        options = "--set tasks_per_job=1 --set max_running=3"
        terminal.type(f"osgbatch submit sweep.yaml --no-watch {options}")
        shown = {"watch": terminal.type("osgbatch watch", half_done)}
        terminal.wait()
        shown["status"] = terminal.type("osgbatch status")
        shown["why"] = terminal.type("osgbatch why")
        shutil.copy(EXAMPLE / "data/3.npy", work / "data/3.npy")
        terminal.type("osgbatch resubmit --failed")
        terminal.type("osgbatch watch")
        terminal.type("osgbatch collect")
        terminal.type("osgbatch report")
    finally:
        terminal.close()
    for name, screen in shown.items():
        (folder / f"{name}.ansi").write_text(screen)
    (results,) = work.glob("batches/*/results")
    for name in ("report.html", "peaks.png"):
        shutil.copy(results / name, folder / name)


def half_done(text: str) -> bool:
    """Whether tasks still run, and one has failed already."""
    return " failed" in text and bool(re.search(r"\d running", text))


def terminal_picture(screen: str, title: str) -> str:
    """A captured screen as SVG, light."""
    from rich.console import Console
    from rich.terminal_theme import DEFAULT_TERMINAL_THEME
    from rich.text import Text

    with open(os.devnull, "w") as nowhere:
        console = Console(
            record=True, width=COLUMNS, file=nowhere, force_terminal=True,
            color_system="truecolor", legacy_windows=False,
        )  # fmt: skip
        console.print(Text.from_ansi(screen.rstrip("\n")), soft_wrap=True)
    width = round(COLUMNS * CHARACTER) + 2 * MARGIN
    height = round(len(screen.splitlines()) * LINE) + 2 * MARGIN
    template = TERMINAL
    for name, number in (
        ("INNER_WIDTH", width - 2), ("INNER_HEIGHT", height - 2),
        ("WIDTH", width), ("HEIGHT", height), ("MARGIN", MARGIN), ("SHOWN", SHOWN),
    ):  # fmt: skip
        template = template.replace(name, str(number))
    return console.export_svg(
        title=title, theme=DEFAULT_TERMINAL_THEME, code_format=template, unique_id=title
    )


def smaller(path: Path) -> None:
    """Give a PNG a palette, which makes it some four times smaller."""
    from PIL import Image

    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLORS)
    few.save(path, optimize=True)


def main(arguments: list[str]) -> int:
    """Make all pictures."""
    if arguments[:1] == ["--in-pool"]:
        capture(Path(arguments[1]))
        return 0
    if not shutil.which("tmux"):
        print("screenshots: tmux is needed: apt-get install tmux", file=sys.stderr)
        return 2
    from browser import browser

    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="osgs-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o777)
        pool = [sys.executable, str(CHECKOUT / "tools/htcondor/pool.py"), "run", "--"]
        inside = [sys.executable, str(Path(__file__).resolve()), "--in-pool", name]
        if code := subprocess.run([*pool, *inside], check=False).returncode:
            return code
        for screen in sorted(folder.glob("*.ansi")):
            text = terminal_picture(screen.read_text(), screen.stem)
            (IMAGES / f"{screen.stem}.svg").write_text(text)
        shutil.copy(folder / "peaks.png", IMAGES / "peaks.png")
        with browser() as tab:
            tab.open(folder / "report.html", REPORT_WIDTH)
            tab.picture(IMAGES / "report.png", REPORT_HEIGHT)
    for path in sorted(IMAGES.glob("*.png")):
        smaller(path)
    large = [path for path in IMAGES.iterdir() if path.stat().st_size > LARGEST]
    for path in large:
        print(f"screenshots: {path} is larger than {LARGEST:,} bytes", file=sys.stderr)
    return 1 if large else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
