"""Which files a batch works on, what it runs on each, and where the results go."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.batch_task import OUT, BatchTask, own_folder, visavis_version
from apps.usage import FailedError, UsageError

INPUT = "{input}"
REPORT = "batch.json"


@dataclass(frozen=True, slots=True)
class VerbForm:
    """How a verb is told its input and output, where the command line does not say it itself.
    Without {out} in it, what the verb prints is the output."""

    arguments: tuple[str, ...]
    ending: str | None = None
    """Of the output; None where --to has to say it."""


VERB_FORMS: Mapping[str, VerbForm] = {
    "record": VerbForm((OUT, "--source", f"video:{INPUT}"), ".mcap"),
    "preview": VerbForm(("--source", f"video:{INPUT}", "--out", OUT), ".mp4"),
    "import": VerbForm((INPUT, "--out", OUT), ".mcap"),
    "replay": VerbForm((INPUT, "--out", OUT), ".mp4"),
    "export": VerbForm((INPUT, "--out", OUT)),
    "inspect": VerbForm((INPUT,), ".txt"),
    # A folder, with comparison.json; the other session is among the options.
    "compare": VerbForm((INPUT, "--out", OUT), ".comparison"),
    "repair": VerbForm((INPUT, "--out", OUT), ".mcap"),
    "redact": VerbForm((INPUT, "--out", OUT), ".mcap"),
}


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """What is asked for, of every file."""

    verb: str
    inputs: tuple[str, ...]
    """Files, or patterns with *, ? and **."""
    options: tuple[str, ...]
    """The verb's own; {input}, {name}, {stem} and {out} are filled in for each file."""
    out: Path
    ending: str | None = None
    gpus: float = 0.0
    time_limit: float | None = None

    def tasks(self) -> list[BatchTask]:
        """One for each file, by name.

        Raises UsageError for a verb that is not for batches, or without an ending; FailedError for
        a pattern that matches nothing, and for two files that would have one output.
        """
        template = self._template()
        ending = self._ending()
        if not any(place in " ".join(template) for place in (INPUT, "{name}", "{stem}")):
            raise UsageError(
                f"batch {self.verb}: say where its file and its output go, for example: "
                f"-- {INPUT} --out {OUT}; or use one of {', '.join(VERB_FORMS)}"
            )
        folder = Path(self.out).resolve()
        tasks: dict[Path, BatchTask] = {}
        for path, below in self._files(folder):
            stem = below.with_suffix("")
            output = folder / f"{stem}{ending}"
            if (other := tasks.get(output)) is not None:
                if other.input == path:
                    continue
                raise FailedError(
                    f"{other.input} and {path} would both be written to {output}; quote a pattern "
                    "('DIR/*/*.mcap'), which keeps their folders apart, or rename one"
                )
            places = {"{stem}": stem.as_posix(), "{name}": below.as_posix(), INPUT: str(path)}
            tasks[output] = BatchTask(
                stem.as_posix(), path, folder, output, template, tuple(_filled(template, places)),
                Path.cwd(), visavis_version(), self.gpus, self.time_limit,
            )  # fmt: skip
        inputs = {task.input for task in tasks.values()}
        for output in (*tasks, folder / REPORT):
            if output in inputs or (output == folder / REPORT and output in tasks):
                raise FailedError(
                    f"{output} would be written over; choose another folder for --out"
                )
        return list(tasks.values())

    def _template(self) -> tuple[str, ...]:
        """The command with its places to fill."""
        form = VERB_FORMS.get(self.verb)
        given = any(place in option for option in self.options for place in (INPUT, OUT))
        return (self.verb, *(() if form is None or given else form.arguments), *self.options)

    def _ending(self) -> str:
        form = VERB_FORMS.get(self.verb)
        ending = self.ending or (form.ending if form is not None else None)
        if ending is None:
            raise UsageError(f"batch {self.verb}: say what to write, for example --to .csv")
        ending = ending if ending.startswith(".") else f".{ending}"
        if len(ending) < 2 or Path(f"x{ending}").name != f"x{ending}":
            raise UsageError(f"--to {self.ending}: expected a file name's ending, such as .mp4")
        return ending

    def _files(self, folder: Path) -> Iterator[tuple[Path, Path]]:
        """Each input, and its path below the fixed part of the pattern that matched it."""
        for pattern in self.inputs:
            found = 0
            for path, below in matches(pattern):
                found += 1
                made = own_folder(folder) / "receipts"
                is_ours = (
                    path.is_relative_to(folder)
                    and (made / f"{path.relative_to(folder)}.json").is_file()
                )
                if not is_ours:
                    yield path, below
            if not found:
                raise FailedError(f"{pattern}: no file matches")


def matches(pattern: str) -> list[tuple[Path, Path]]:
    """The files that a pattern matches, in order, each also as a path below the pattern's folder:
    that of its fixed part, so that what `DIR/*/x.mcap` matches stays apart as `a/x`, `b/x`."""
    whole = Path(pattern).expanduser()
    fixed = list(whole.parts[:-1])
    for index, part in enumerate(whole.parts[:-1]):
        if glob.has_magic(part):
            fixed = fixed[:index]
            break
    root = Path(*fixed).resolve()
    if whole.is_file():  # Also one whose own name has brackets.
        path = whole.resolve()
        return [(path, Path(whole.name))]
    tail = whole.parts[len(fixed) :]
    found = sorted(glob.glob(str(Path(*tail)), root_dir=root, recursive=True))
    return [(root / name, Path(name)) for name in found if (root / name).is_file()]


def _filled(template: Sequence[str], places: Mapping[str, str]) -> Iterator[str]:
    for argument in template:
        for place, text in places.items():
            argument = argument.replace(place, text)
        yield argument
