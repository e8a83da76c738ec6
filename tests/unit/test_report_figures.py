"""What a report is made of: right-sizing, counts over time, histograms, numbers with units."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osgbatch.batches.history import Start, read_history
from osgbatch.batches.notes import write_submitted
from osgbatch.model import Submitted, TaskState
from osgbatch.reporting import charts, quantities, shapes, sizing, timelines, words
from osgbatch.reporting.data import Bar, Cost, Lane, Spread
from osgbatch.reporting.quantities import GIB, MIB, percent, percents
from osgbatch.reporting.scene import Drawing, Text, fitted, ramp, svg, text_width
from osgbatch.results.reported import _named_code, _summed_up, report_of
from osgbatch.results.reported_jobs import JobRun
from osgbatch.results.reported_times import Times, _endings, came_of
from osgbatch.spec.load import load_spec
from osgbatch.submission import steps

FEW = settings(max_examples=30, deadline=None)


def wanted(name: str, used: list[float], asked: float, **more: object) -> sizing.Wanted:
    count = len(used)
    told = (range(count), used, [asked] * count, [3600.0] * count)
    return sizing.Wanted(name, *told, **more)  # type: ignore[arg-type]


def sized(name: str, used: list[float], asked: float, **more: object) -> sizing.Sized:
    found = sizing.sized(wanted(name, used, asked, **more))
    assert found is not None
    return found


# --- right-sizing ---------------------------------------------------------------------------------


def test_what_many_tasks_used_needs_less_margin_than_what_few_did() -> None:
    few = sized("memory", [100 * MIB] * 3, 4 * GIB)
    many = sized("memory", [100 * MIB] * 50, 4 * GIB)
    assert (few.setting, many.setting) == ("192 MB", "128 MB")
    assert sized("memory", [100 * MIB] * 50, 4 * GIB, whole_sweep=False).setting == "192 MB"
    assert (few.change, sized("memory", [900 * MIB], GIB).change) == ("less", "more")
    assert sized("memory", [700 * MIB] * 3, 1100 * MIB).setting == "1088 MB"
    assert sized("disk", [GIB], 0).setting == "2 GB"
    assert sized("time", [61.0], 600).setting == "4 min"
    assert sizing.sized(wanted("memory", [], GIB)) is None


def test_less_is_not_suggested_to_who_was_stopped_for_wanting_more() -> None:
    found = sized("memory", [100 * MIB] * 9, GIB, stopped=[9, 12])
    assert (found.setting, found.guessed, found.saved) == ("2 GB", True, 0)
    told = next(words.sizing_sentences([found], None, 9, Cost()))
    assert told.startswith("2 tasks (9,12) were stopped for wanting more memory than requested")


def test_a_suggestion_tells_what_it_spares_and_who_would_not_fit() -> None:
    used = [*([100 * MIB] * 98), 3 * GIB, 2 * GIB]
    found = sized("memory", used, 8 * GIB)
    assert (found.setting, found.p95, found.peak) == ("3840 MB", 100 * MIB, 3 * GIB)
    assert found.held == 100 * 8 * GIB * 3600
    assert found.saved == 100 * (8 * GIB - 3840 * MIB) * 3600
    assert (found.smaller_setting, found.unfit) == ("128 MB", (98, 99))
    told = " ".join(words.sizing_sentences([found], (4, 0.9), 200, Cost()))
    assert "rests on the 100 of 200 tasks" in told
    assert "held 53 % less memory (375 instead of 800 GB-hours)" in told
    assert "With 128 MB of memory, 2 tasks of 100 would not have fitted (98-99)" in told
    assert "more than 0.9 of its 4 cores" in told


def test_one_number_is_not_suggested_where_tasks_ask_for_different_amounts() -> None:
    told = sizing.Wanted("memory", [0, 1], [MIB, MIB], [GIB, 2 * GIB], [1.0, 1.0])
    found = sizing.sized(told)
    assert found and (found.setting, found.saved, found.smaller_setting) == ("", 0, "")
    assert found.asked_text == "1 GB to 2 GB"
    assert sizing.block([found], 1) == ""


def test_the_suggested_block_is_a_spec(tmp_path: Path) -> None:
    found = [
        sized("memory", [700 * MIB], GIB),
        sized("disk", [GIB], 8 * GIB),
        sized("time", [9], 0),
    ]
    path = tmp_path / "sweep.yaml"
    path.write_text(f"command: e\nsweep: {{n: [1]}}\n{sizing.block(found, 2, 1)}")
    resources = load_spec(path).resources
    assert (resources.cpus, resources.memory_mb, resources.disk_kb) == (2, 1088, 2 * 1024**2)
    assert (resources.time_s, resources.gpus) == (60, 1)


@FEW
@given(st.lists(st.floats(1, 1e12), min_size=1, max_size=60), st.floats(1, 1e12))
def test_all_that_was_measured_fits_what_is_suggested(used: list[float], asked: float) -> None:
    found = sized("memory", used, float(int(asked / MIB) * MIB))
    assert found.suggested >= found.peak
    assert all(used[i] > found.smaller for i in found.unfit)
    assert sum(use > found.smaller for use in used) == len(found.unfit) or not found.smaller


# --- counts and histograms ------------------------------------------------------------------------

SPELL = st.tuples(st.sampled_from("ab"), st.floats(-5, 15), st.floats(0, 20), st.just(1.0))


@FEW
@given(st.lists(SPELL.map(lambda s: (s[0], s[1], s[1] + s[2], s[3])), max_size=20))
def test_averages_over_time_keep_the_area(spells: list[tuple[str, float, float, float]]) -> None:
    stack = shapes.averaged(spells, 0.0, 10.0, 7)
    for kind in "ab":
        whole = sum(max(0, min(b, 10) - max(a, 0)) for k, a, b, _ in spells if k == kind)
        assert sum(stack.counts.get(kind, ())) * stack.step == pytest.approx(whole, abs=1e-4)


@FEW
@given(st.lists(st.floats(0, 1e9), max_size=50), st.lists(st.floats(0, 1e9), max_size=50))
def test_a_histogram_counts_every_task_once(good: list[float], bad: list[float]) -> None:
    found = shapes.spread("memory", "bytes", good, bad, 5.0)
    if found is None:
        assert not good and not bad
        return
    assert (sum(found.good), sum(found.bad)) == (len(good), len(bad))
    assert found.edges[-1] >= found.peak * 0.999999
    assert ET.fromstring(svg(charts.spread(found, 290)))


@FEW
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=8))
def test_shares_of_a_whole_do_not_add_up_to_more(parts: list[float]) -> None:
    told = percents(parts)
    exact = [percent(part, sum(parts)) for part in parts]
    assert [one == "0 %" for one in told] == [one == "0 %" for one in exact]
    if sum(parts) > 0 and not any("." in one or "less" in one for one in told):
        assert sum(int(one.removesuffix(" %")) for one in told) == 100
    assert percents([1, 1, 1]) == ["34 %", "33 %", "33 %"]
    assert percents([995, 5]) == ["99.5 %", "0.5 %"]


def test_what_was_requested_is_told_beside_the_axis_and_not_over_it() -> None:
    for asked, low in ((100 * 2**20, 60e3), (2**40, 1e3), (8 * 2**20, 5e6), (0.0, 1e5)):
        found = shapes.spread("disk", "bytes", [low, low * 1.5], [low * 1.2], asked)
        assert found
        drawn = [item for item in charts.spread(found, 290).items if isinstance(item, Text)]
        told = next(item for item in drawn if item.text.startswith(("requested", "no limit")))
        axis = next(item for item in drawn if item.text == "tasks")
        assert axis.y == told.y and told.anchor == "end"
        assert axis.x + text_width(axis.text, 11) < told.x - text_width(told.text, 11)
        assert {"succeeded", "did not"} <= {item.text for item in drawn}  # what colours mean


def test_three_numbers_tell_of_a_metric() -> None:
    [told] = _summed_up([("score", "", [4.0, None, 1.0, 2.0, 9.0])])
    assert (told.count, told.least, told.median, told.most) == (4, 1, 3, 9)


def test_a_metric_is_drawn_over_numbers_texts_and_planes() -> None:
    ys = [1.0, None, 3.0, 5.0]
    found = shapes.chart("m", "", "x", [1, 2, 2, 1], ys)
    assert found and (found.points, found.missing) == (((1, 1), (1, 5), (2, 3)), (2,))
    assert [(g.x, g.count, g.middle) for g in found.groups] == [(1, 2, 3), (2, 1, 3)]
    named = shapes.by_name("m", "", "x", ["b", "a", "a", "b"], ys)
    assert named and (named.names, named.groups[0].count) == (("b", "a"), 2)
    over = shapes.plane("x", "y", [1, 1, 2, 2], [5, 6, 5, 6])
    plane = shapes.grid("m", "", over, ys)
    assert over.filled == 2 and shapes.plane("x", "y", [1, 2, 3], [4, 5, 6]).filled == 1
    assert (plane.xs, plane.ys, plane.missing) == ((1, 2), (5, 6), {(0, 1)})
    assert plane.cells == {(0, 0): (1, 1), (1, 0): (3, 1), (1, 1): (5, 1)}
    for drawing in (
        charts.chart(found, 343),
        charts.chart(named, 343),
        charts.heat_map(plane, 343),
    ):
        assert ET.fromstring(svg(drawing))
    assert shapes.chart("m", "", "x", [1], [None]) is None


def test_many_tasks_are_put_together() -> None:
    count = 20_000
    xs, ys = list(range(count)), [i % 7 for i in range(count)]
    found = shapes.chart("m", "", "x", xs, ys)
    assert found and not found.points and len(found.groups) <= shapes.VALUES
    assert sum(group.count for group in found.groups) == count
    plane = shapes.grid("m", "", shapes.plane("x", "y", xs, [x * 3.5 % 911 for x in xs]), ys)
    assert plane.binned and len(plane.cells) <= shapes.SIDE**2
    assert sum(many for _, many in plane.cells.values()) == count
    assert len(svg(charts.heat_map(plane, 880))) < 60_000


ODD = [0, -1.5, 1e-320, 1e299, -1e299, 5, 5, 7, 1e-12]


@pytest.mark.parametrize("ys", [ODD, [0.0] * 9, [-3.0] * 9, [1e12 + i for i in range(9)]])
def test_odd_numbers_are_drawn(ys: list[float]) -> None:
    for xs in (list(range(9)), [10.0**n for n in range(9)], [4] * 8 + [5], ODD):
        for unit in ("", "s", "bytes"):
            found = shapes.chart("m", unit, "x", xs, ys)
            assert found and ET.fromstring(svg(charts.chart(found, 343)))
        plane = shapes.grid("m", "", shapes.plane("x", "y", xs, list(reversed(xs))), ys)
        assert ET.fromstring(svg(charts.heat_map(plane, 343)))


def marks_of(drawing: Drawing) -> set[str]:
    return {item.text for item in drawing.items if hasattr(item, "text")}


def test_numbers_over_a_parameter_have_their_units_also_when_all_are_alike() -> None:
    for ys, marks in (
        ([18 * MIB] * 4, {"0", "18 MB", "36 MB"}),
        ([64 * 1024] * 4, {"0", "64 KB", "128 KB"}),
        ([58 * 1024, 61 * 1024, 64 * 1024, 70 * 1024], {"60 KB", "65 KB", "70 KB"}),
    ):
        found = shapes.chart("disk", "bytes", "x", [1, 2, 3, 4], ys)
        named = shapes.by_name("disk", "bytes", "x", ["a", "b", "c", "d"], ys)
        assert found and marks | {"disk"} <= marks_of(charts.chart(found, 343))
        assert named and marks | {"disk"} <= marks_of(charts.chart(named, 343))
    ends = [text for _, text in quantities.linear(4e9 + 1, 4e9 + 6).marks]
    assert ends == ["4000000001", "4000000006"]
    assert [text for _, text in quantities.logarithmic(1.1, 60).marks] == [
        "2", "5", "10", "20", "50",
    ]  # fmt: skip


@FEW
@given(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=9), st.sampled_from(["", "s", "bytes"])
)
def test_no_figure_has_a_single_mark(ys: list[float], unit: str) -> None:
    axis = charts._padded(unit, ys if not unit else [abs(y) for y in ys])
    assert len(axis.marks) > 1 and len({text for _, text in axis.marks}) == len(axis.marks)
    assert all(-1e-6 <= axis.share(number) <= 1 + 1e-6 for number, _ in axis.marks)


# --- axes and words -------------------------------------------------------------------------------


@FEW
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 9))
def test_an_axis_has_few_marks_and_all_lie_on_it(low: float, span: float, most: int) -> None:
    for make in quantities.AXES.values():
        first = abs(low) if make is not quantities.linear else low
        axis = make(first, first + span, most)
        assert len(axis.marks) <= most + 2
        assert all(-1e-6 <= axis.share(number) <= 1 + 1e-6 for number, _ in axis.marks)
        assert len({text for _, text in axis.marks}) == len(axis.marks)


def test_numbers_have_units_and_nothing_is_told_as_none_or_all() -> None:
    assert [quantities.size(n) for n in (0, 512, 1536, 3.5 * GIB)] == [
        "0 bytes", "512 bytes", "1.5 KB", "3.5 GB",
    ]  # fmt: skip
    assert [quantities.duration(n) for n in (0.4, 42, 210, 7500, 360_000)] == [
        "0.4 s", "42 s", "3.5 min", "2 h 05 min", "4.2 days",
    ]  # fmt: skip
    assert [quantities.percent(n, 10_000) for n in (0, 1, 30, 9_999, 10_000)] == [
        "0 %", "less than 0.1 %", "0.3 %", "99.9 %", "100 %",
    ]  # fmt: skip
    assert quantities.core_time(7200) == "2 core hours"
    assert quantities.core_time(90, "") == "1.5 minutes"
    assert quantities.core_time(60) == "1 core minute"
    assert [quantities.value(n) for n in (0.00123, 1234.5, 1e9)] == ["0.00123", "1,234", "1e+09"]


def test_a_long_text_keeps_both_ends() -> None:
    assert fitted("short", 100) == "short"
    cut = fitted("a" * 50 + "z" * 50, 100)
    assert cut.startswith("aa") and cut.endswith("zz") and "…" in cut
    assert ramp(0) == "#440154" and ramp(1) == "#fde725" and ramp(7) == "#fde725"


# --- what became of jobs --------------------------------------------------------------------------

EVENT = "{kind:03} (7.{proc:03}.000) 2026-11-20 10:00:{second:02} {text}\n...\n"


def history(*events: tuple[int, int, str]) -> tuple[list[tuple[str, float, float, float]], int]:
    """Of proc 0: how each start ended, and its begin, run and end, in seconds of the minute."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "events.log"
        text = EVENT.format(kind=0, proc=0, second=0, text="Job submitted from host: <1.2.3.4>")
        for kind, second, words_ in events:
            text += EVENT.format(kind=kind, proc=0, second=second, text=words_)
        log.write_text(text)
        job = read_history(log, 7)[0]

    def told(start: Start) -> tuple[str, float, float, float]:
        return start.how, *(n % 60 if n else 0.0 for n in (start.begin, start.run, start.end))

    return [told(start) for start in job.starts], len(job.holds)


IN, OUT = "Started transferring input files", "Started transferring output files"
RUN = "Job executing on host: <1.2.3.4>\n\tSlotName: slot1@ep.example"
GONE, HELD = "Job was evicted.\n\t(0) CPU times", "Job was held.\n\twhy\n\tCode 13 Subcode 2"
END = "Job terminated.\n\t(1) Normal termination (return value 0)"


def test_each_start_of_a_job_is_told_with_how_it_ended() -> None:
    events = [(40, 1, IN), (1, 3, RUN), (4, 9, GONE), (1, 12, RUN), (40, 20, OUT), (5, 21, END)]
    assert history(*events) == ([("evicted", 1, 3, 9), ("completed", 12, 12, 21)], 0)
    doubled = [event for event in events for _ in range(2)]
    assert history(*doubled) == history(*events)


def test_an_eviction_that_puts_a_job_on_hold_is_one() -> None:
    events = [(40, 1, IN), (4, 5, GONE), (12, 5, HELD), (13, 30, "Job was released.\n\tvia x")]
    assert history(*events) == ([("held", 1, 0, 5)], 1)
    assert history(*events, (1, 40, RUN)) == ([("held", 1, 0, 5), ("open", 40, 40, 0)], 1)
    assert history((1, 2, RUN), (9, 8, "Job was aborted.\n\tvia x")) == ([("removed", 2, 2, 8)], 0)


def test_results_that_were_lost_are_told_from_failures() -> None:
    def came(code: int | None, state: str, round_: int) -> str:
        start = Start(1.0, 1.0, 0.0, 9.0, "completed", "slot1", code=code)
        job = JobRun(1, 0, (0,), 0.5, (start,), ())
        return came_of(job, start, TaskState(0, state, round=round_))

    assert [came(0, state, 1) for state in ("succeeded", "failed", "unknown")] == [
        "succeeded", "failed", "unknown",
    ]  # fmt: skip
    # It ran again: what it had made was lost, or it had failed.
    assert [came(code, "succeeded", 2) for code in (0, 7, None)] == ["unknown", "failed", "failed"]
    drawing = timelines.cost_bar(Cost(good=9, lost=5), 343)
    assert "tasks whose results were lost: 5 seconds (36 %)" in marks_of(drawing)
    assert "1 results lost (unknown)" in marks_of(timelines.states_bar({"unknown": 1}, 343))
    assert _named_code("shim code 110") == "required output missing (shim code 110)"
    assert _named_code("exit code 7") == "exit code 7"


def test_what_ends_last_has_a_bar_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    (tmp_path / "sweep.yaml").write_text("command: e\nsweep: {n: [1, 2]}\n")
    batch = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    round_ = batch.rounds()[0]
    write_submitted(round_, Submitted("condor", 7, 2, 0.0, "elsewhere"))
    with (round_.folder / "events.log").open("w") as log:
        for proc in range(2):
            for kind, second, text in ((0, 0, "Job submitted"), (1, 1, RUN), (5, 7 + proc, END)):
                log.write(EVENT.format(kind=kind, proc=proc, second=second, text=text))
    found = report_of(batch).endings
    assert found is not None and found.step == 1
    assert found.counts["unknown"] == [0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_on_average_no_more_tasks_end_than_at_best() -> None:
    found = Times(begin=100.0, end=101.0)
    states = [TaskState(i, "succeeded", round=1) for i in range(8)]
    ends = [100.0, 101.0] * 4
    jobs = [
        JobRun(1, i, (i,), 100.0, (Start(100.0, 100.0, 0.0, end, "completed", "slot1"),), ())
        for i, end in enumerate(ends)
    ]
    _endings(found, jobs, states)
    assert found.endings is not None and found.endings.counts["succeeded"] == [4, 4]
    assert (found.rate, found.best_rate) == (4, 4)


def test_what_ran_where_is_drawn() -> None:
    bars = [Bar(float(t), float(t + 1), 0.0, t + 9.0, "succeeded", "a & <b>") for t in range(20)]
    lanes = [Lane(name, tuple(bars)) for name in ("slot1@<script>", "slot2", "\x00\ud800")]
    drawing = timelines.lanes(lanes, 0.0, 30.0, 343)
    assert "<script>" not in svg(drawing)
    assert ET.fromstring(svg(drawing))
    for cost in (Cost(good=1e6, failed=0.001), Cost(evicted=5)):
        assert ET.fromstring(svg(timelines.cost_bar(cost, 343)))


def test_nothing_is_drawn_out_of_a_figure() -> None:
    found = shapes.spread("run time", "s", [1.0, 2.0, 3.0], [9.0], 100.0)
    assert isinstance(found, Spread)
    for width, drawing in itertools.product((290.0,), [charts.spread(found, 290)]):
        assert isinstance(drawing, Drawing)
        for item in drawing.items:
            for x, y, w, h in getattr(item, "boxes", ()):
                assert x >= -1 and x + w <= width + 1
                assert y >= -1 and y + h <= drawing.height + 1


def test_core_time_is_told_by_what_became_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    (tmp_path / "sweep.yaml").write_text(
        "command: e\nsweep: {n: [1, 2, 3, 4]}\nresources: {cpus: 2}\n"
    )
    batch = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    round_ = batch.rounds()[0]
    write_submitted(round_, Submitted("condor", 7, 4, 0.0, "elsewhere"))
    submitted = "Job submitted from host: <1.2.3.4>"
    events = [(0, proc, 0, submitted) for proc in range(4)]
    events += [(1, 0, 1, RUN), (4, 0, 11, GONE), (1, 0, 20, RUN), (5, 0, 40, END)]
    events += [(1, 1, 1, RUN), (4, 1, 6, GONE), (12, 1, 6, HELD), (1, 2, 30, RUN)]
    with (round_.folder / "events.log").open("w") as log:
        for kind, proc, second, text in events:
            log.write(EVENT.format(kind=kind, proc=proc, second=second, text=text))
    found = report_of(batch)
    assert found.counts == {"unknown": 1, "held": 1, "running": 1, "waiting": 1}
    cost = found.cost
    # The archive of task 0 did not come back, so it has not succeeded.
    assert (cost.evicted, cost.lost, cost.held, cost.good) == (20, 40, 10, 0)
    assert (cost.failed, cost.wasted) == (0, 70)
    assert [bar.state for lane in found.lanes for bar in lane.bars].count("unknown") == 1
    assert found.endings is not None and sum(found.endings.counts["unknown"]) == 1
    assert cost.open == pytest.approx(2 * (found.end - found.begin - 30), abs=1)
    assert (found.starts, found.evictions, found.holds, found.most_at_once) == (4, 1, 1, 2)
    assert {lane.name: len(lane.bars) for lane in found.lanes} == {"slot1": 4}
    assert found.levels is not None
    at_the_end = {kind: counts[-1] for kind, counts in found.levels.counts.items() if counts[-1]}
    assert at_the_end == {"unknown": 1, "held": 1, "running": 1, "waiting": 1}
    assert (
        not found.ended and found.verdict == "0 of 4 tasks succeeded; 2 did not; 2 have not ended."
    )
