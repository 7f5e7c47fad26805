"""`visavis inspect`: what is in a session file, how regular, how late and how large."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from apps.usage import UsageError


@dataclass(frozen=True, slots=True)
class Inspect:
    """Tell what a session holds: streams, rates, gaps, losses, sizes, the latency of each stage.
    Nothing is decoded, so that an hour takes seconds."""

    session: tyro.conf.Positional[Path]
    """FILE.mcap."""
    plot: Path | None = None
    """Also draw it over time: FILE.png."""
    json: bool = False
    """As JSON, for programs."""
    key_file: Path | None = None
    """The secret of a sealed session; VISAVIS_SECRET does as well."""

    def run(self) -> int:
        """0 when the file can be read."""
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            raise UsageError(f"--plot {self.plot}: expected a name that ends in .png")
        from apps.session_source import open_session
        from apps.session_survey import survey_session

        if self.plot is not None:
            from apps.video_writer import check_writable

            check_writable(self.plot)
        with open_session(self.session, self.key_file) as session:
            survey = survey_session(session)
        if self.plot is not None:
            from apps.session_plot import plot_survey

            plot_survey(survey, self.plot)
        if self.json:
            print(json.dumps(survey.as_json(), indent=2, ensure_ascii=False))
        else:
            from apps.survey_text import survey_text

            print(survey_text(survey))
            if self.plot is not None:
                print(f"wrote {self.plot}")
        return 0
