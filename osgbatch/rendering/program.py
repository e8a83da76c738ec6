"""What a task of a sweep runs: the shim's function `row`, and the file it may need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from osgbatch.names import SCRIPT_VARIABLE
from osgbatch.plan_model import Plan
from osgbatch.rendering.container import CONTAINER, RUN_SCRIPT
from osgbatch.rendering.rows import RowWriter, input_line, shell_word
from osgbatch.rendering.templates import template_folder
from osgbatch.spec_model import Template

CALL = "call.py"
"""The program that calls a `function:`, in the template folder."""


def program_file(plan: Plan) -> tuple[str, bytes] | None:
    """The file that osgbatch makes for all tasks: (suffix, content); None for a command."""
    if plan.spec.script:
        text = plan.spec.script.text
        return ".sh", (text if text.endswith("\n") else text + "\n").encode()
    if plan.spec.function:
        return ".py", (template_folder() / CALL).read_bytes()
    return None


def row_body(plan: Plan, writer: RowWriter) -> str:
    """The lines of the shim's function `row`, which is given the values of a task's row.

    The values stand there as $1, $2 and so on and are never read as code: each word is a literal
    in single quotes, or a parameter in double quotes.
    """
    values = _Values(writer.columns)
    return "\n".join(_lines(plan, writer, values))


class _Values:
    """Where the values of a row stand in `row`."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.places = {name: str(i) for i, name in enumerate(columns, 1)}
        self.places["index"] = "index"

    def __getitem__(self, name: str) -> str:
        return '"${' + self.places[name] + '}"'

    def word(self, template: Template) -> str:
        """A template as one word of the shell."""
        parts = [
            self[part] if position % 2 else shell_word(part)
            for position, part in enumerate(template.parts)
            if part or position % 2
        ]
        return "".join(parts) or "''"


def _lines(plan: Plan, writer: RowWriter, values: _Values) -> Iterator[str]:
    spec = plan.spec
    yield f'[ -n "$row_has_params" ] || params {_params(writer, values)}'
    yield from (input_line(file).rstrip(";") for file in plan.tasks.shared)
    if any(output.pattern.names for output in plan.outputs):
        names = dict.fromkeys(n for output in plan.outputs for n in output.pattern.names)
        for number, name in enumerate(names, 1):
            yield f"escape_pattern {values[name]}"
            yield f"pattern_{number}=$escaped"
        for output in plan.outputs:
            parts = [
                f'"$pattern_{list(names).index(part) + 1}"' if i % 2 else shell_word(part)
                for i, part in enumerate(output.pattern.parts)
                if part
            ]
            yield f"output {''.join(parts)} {'optional' if output.optional else 'required'}"
    if writer.has_seconds:
        yield f'time_limit "${{{len(writer.columns) + 1}}}"'
    variables = [
        f"{name}={values.word(value)}" for name, value in spec.environment_variables if value.names
    ]
    if spec.script:
        variables += [f"{SCRIPT_VARIABLE}{name}={values[name]}" for name in spec.script.names]
    words = [*variables, *_command(plan, values)]
    yield " ".join([f"run_with {len(variables)}" if variables else "run", *words])


def _command(plan: Plan, values: _Values) -> list[str]:
    spec = plan.spec
    if spec.script:
        return ["bash", "-eo", "pipefail", '"$program_file"']
    if spec.function:
        function = [shell_word(spec.function.module), shell_word(spec.function.name)]
        return ["python", '"$program_file"', *function]
    if spec.environment.kind == CONTAINER and not spec.command:
        return [RUN_SCRIPT]
    return [values.word(template) for template in spec.command]


def _params(writer: RowWriter, values: _Values) -> str:
    """params.json of a usual row: numbers as they are, all else between double quotes."""
    text, separator = "'{", ""
    for name in writer.columns:
        mark = "" if name in writer.numbers else '"'
        text += f"{separator}\"{name}\": {mark}'{values[name]}'{mark}"
        separator = ", "
    return text + "}'"
