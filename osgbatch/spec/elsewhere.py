"""Evenly spaced numbers as other languages write them, and how a spec says them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CALL = re.compile(
    r"(?:np\.|numpy\.)?(?P<name>range|arange|seq|linspace|logspace)\((?P<arguments>[^()]*)\)"
)
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SPAN = re.compile(
    rf"(?P<low>[-+]?[0-9]+|{_NUMBER})\s*(?P<between>\.\.\.?|…|:|-|to)\s*(?P<high>{_NUMBER})"
)
_LOW = ("from", "start", "begin", "first", "min")
_HIGH = ("to", "stop", "end", "last", "max")
_STEP = ("step", "by")
_COUNT = ("n", "num", "count", "points")
_EITHER = "Write {range: [1, 6]} for 1, 2, 3, 4, 5, or {linspace: [0, 1, 11]} (from, to, how many)."


def call_in(line: str) -> str:
    """The call with which a line begins, `range(1, 5)`; or nothing."""
    found = _CALL.match(line)
    return found[0] if found else ""


def in_a_spec(text: str) -> str:
    """What to write for `range(3)`, `np.linspace(0, 1, 11)`, `1..5` or `1 to 5`; or nothing."""
    if found := _CALL.fullmatch(text):
        words = [re.sub(r"\s*\w+\s*=\s*", "", word.strip()) for word in found[2].split(",")]
        if not all(re.fullmatch(_NUMBER, word) for word in words):
            return _EITHER
        kind = {"arange": "range", "seq": "range"}.get(found["name"], found["name"])
        if found["name"] == "seq" and len(words) == 2:  # of R, which has both ends
            return _span(words[0], words[1])
        if kind == "range" and len(words) == 1:
            return f"Write {{range: {words[0]}}}."
        if len(words) == 3 or (kind == "range" and len(words) == 2):
            return f"Write {{{kind}: [{', '.join(words)}]}}."
        return _EITHER
    if found := _SPAN.fullmatch(text):
        fix = _span(found["low"], found["high"])
        if found["between"] == "-" and float(found["low"]) >= float(found["high"]):
            return ""  # a month: 2024-01
        # what may be a time or a name
        return fix if found["between"][0] in ".…t" else f"{fix[:-1]}; for the text, [{text}]."
    return ""


def from_keys(given: Mapping[str, str]) -> str:
    """What to write for the keys {from: 1, to: 5} with the texts of their values; or nothing."""
    low, high, step, count = (
        next((given[key] for key in keys if key in given), None)
        for keys in (_LOW, _HIGH, _STEP, _COUNT)
    )
    if not given.keys() <= {*_LOW, *_HIGH, *_STEP, *_COUNT} or (low is None and high is None):
        return ""
    texts = [text for text in (low, high, step, count) if text is not None]
    if low is None or high is None or not all(re.fullmatch(_NUMBER, text) for text in texts):
        return _EITHER
    if count is not None:
        return f"Write {{linspace: [{low}, {high}, {count}]}}."
    if step is not None:
        return f"Write {{range: [{low}, {high}, {step}]}}, which leaves {high} itself out."
    return _span(low, high)


def _span(low: str, high: str) -> str:
    """From one number to another, both included."""
    if not re.fullmatch(r"[-+]?[0-9]+", low) or not re.fullmatch(r"[-+]?[0-9]+", high):
        return f"Write {{linspace: [{low}, {high}, 11]}} for 11 numbers, both ends included."
    first, last = int(low), int(high)
    numbers = f"{first}, {last + 1}" if first <= last else f"{first}, {last - 1}, -1"
    return f"Write {{range: [{numbers}]}}, whose last value is {last}."
