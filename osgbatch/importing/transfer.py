"""What a submit file brings to its jobs, and back: transfer_input_files, transfer_output_files."""

from __future__ import annotations

import re

from osgbatch.importing import words
from osgbatch.importing.macros import CLUSTER, NotImported, Variable
from osgbatch.importing.made import Input, Setting
from osgbatch.importing.parts import basename, below, plain, shown, trimmed
from osgbatch.importing.values import Values


def inputs_of(values: Values) -> None:
    """The inputs of the jobs, beside their program."""
    made = values.made
    setting = values.values.get("transferinputfiles")
    keep = values.flag("preserverelativepaths")
    try:
        listed = values.split("input", values.parts("transferinputfiles"), words.comma_list)
        image = made.settings.get("environment")
        own = image.get("container") if isinstance(image, dict) else None
        for entry in listed:
            if entry != (own,):  # osgbatch brings the image by itself
                _add(values, entry, keep)
    except NotImported as error:
        if setting:
            values.lose(setting, str(error))
    initial = values.parts("initialdir")
    if initial and initial != (".",):
        made.inputs = [
            one if one.source == (made.executable,) and made.executable
            else Input(below(initial, one.source), one.name, one.whole and plain(initial),
                       one.contents)
            for one in made.inputs
        ]  # fmt: skip
        values.note("initialdir: inputs are taken from there; results come to results/<task>/")


def _add(values: Values, entry: words.Word, keep: bool) -> None:
    """An entry of transfer_input_files."""
    first, last = entry[0], entry[-1]
    is_url = isinstance(first, str) and re.match(r"[a-z][a-z0-9+.-]*://", first) is not None
    if is_url and any(isinstance(part, str) and "?" in part for part in entry):
        raise NotImported(f"a URL with ?… is not fetched by osgbatch: {shown(entry)}")
    if isinstance(first, str) and first.startswith("stash://"):
        raise NotImported(
            f"{shown(entry)}: stash:// is not served any more; write where the file is now, "
            "osdf:///…"
        )
    if not is_url and isinstance(last, str) and last.endswith("/") and not keep:
        # With a / at its end what is in a folder is brought, without the folder.
        folder = trimmed((*entry[:-1], last.rstrip("/"))) if last.strip("/") else entry[:-1]
        if not folder:
            raise NotImported(f"{shown(entry)}: the whole root folder is not brought")
        values.made.inputs.append(Input(folder, basename(folder), False, contents=True))
        return
    if not is_url and not plain(entry) and isinstance(first, Variable) and len(entry) == 1:
        if keep and any("/" in values.filled(entry, job).rstrip("/") for job in values.jobs):
            raise NotImported(f"with preserve_relative_paths {shown(entry)} lies in folders, which "
                              "differ between jobs")  # fmt: skip
        name: words.Word = basename(entry)
    elif keep and not is_url and not str(first).startswith("/"):
        name = trimmed(entry)
    else:
        name = basename(trimmed(entry))
    values.made.inputs.append(input_of(entry if is_url else trimmed(entry), name))


def input_of(source: words.Word, name: words.Word) -> Input:
    """A file or folder that lies here, or a URL."""
    is_url = isinstance(source[0], str) and "://" in source[0]
    return Input(source, name, whole=plain(source) and not is_url)


def outputs_of(values: Values) -> None:
    """What comes back."""
    made = values.made
    setting = values.values.get("transferoutputfiles")
    told = setting is not None and bool(setting.value.strip())
    try:
        parts = values.parts("transferoutputfiles", cluster=True)
        listed = [
            word for word in values.split("output", parts, words.comma_list) if word != ('""',)
        ]
    except NotImported as error:
        listed = []
        if setting:
            values.lose(setting, str(error))
    remapped = _remaps(values)
    if not told:
        made.outputs = None
        for name in remapped:
            values.note(f"transfer_output_remaps: {shown(name)} lies in results/<task>/")
        return
    made.outputs = []
    for word in listed:
        if setting and isinstance(word[-1], str) and word[-1].endswith("/"):
            values.note(f"{setting.key}: {shown(word)}: the folder lies in results/<task>/, with "
                        "what is in it")  # fmt: skip
        to = _in_results(values, remapped.get(trimmed(word)), setting)
        made.outputs.append((_any_cluster(trimmed(word)), to))


def _in_results(
    values: Values, to: words.Word | None, setting: Setting | None
) -> words.Word | None:
    """Where an output lies below results/; None where it lies with its task anyway."""
    if not to or setting is None:
        return None
    filled = [values.filled(to, job) for job in values.jobs]
    if any(one.startswith("/") or ".." in one.split("/") for one in filled):
        values.differ(f"transfer_output_remaps: {shown(to)}: it comes to results/<task>/")
        return None
    first = [one.removeprefix("./").removeprefix("results/").partition("/")[0] for one in filled]
    if any(one.isdigit() for one in first):  # the names of the tasks' own folders
        values.note(f"transfer_output_remaps: {shown(to)}: it lies in results/<task>/")
        return None
    return to


def _any_cluster(word: words.Word) -> words.Word:
    """Any number where that of the cluster stands."""
    found = ["*" if part == Variable(CLUSTER) else part for part in word]
    return tuple(words.merged(found))


def _remaps(values: Values) -> dict[words.Word, words.Word]:
    setting = values.values.get("transferoutputremaps")
    found: dict[words.Word, words.Word] = {}
    if setting is None or not setting.value.strip():
        values.values.pop("transferoutputremaps", None)
        return found
    text = setting.value.strip().strip('"')
    values.values.pop("transferoutputremaps")
    for entry in re.split(r"(?<!\\);", text):
        if not entry.strip():
            continue
        name, _, to = entry.partition("=")
        if "://" in to:
            values.lose(setting, f"{name.strip()} goes to a URL: with `outputs_to:` osgbatch "
                        "brings all outputs there, as one archive a job")  # fmt: skip
            continue
        try:
            made_name = values.macros.parts(name.strip())
            found[made_name] = _without_job_ids(values, to.strip())
        except NotImported as error:
            values.lose(setting, str(error))
    return found


def _without_job_ids(values: Values, text: str) -> words.Word:
    """Where an output lies: the cluster's number is left out, since each batch has a folder."""
    # At the start of a name the separator behind it goes with it, elsewhere the one before it.
    id_ = r"\$\((?:cluster|clusterid)\)"
    starts = rf"(?:(?<=/)|^){id_}(?:[-_]|\.(?=\$))?"
    plain_text = re.sub(rf"{starts}|[-_.]?{id_}", "", text, flags=re.IGNORECASE)
    plain_text = re.sub(r"\$\(jobid\)", "$(ProcId)", plain_text, flags=re.IGNORECASE)
    found = values.macros.parts(plain_text)
    return tuple(part for part in found if part != Variable(CLUSTER))
