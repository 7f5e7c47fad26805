"""Sessions for the tests of replaying: recorded through the whole pipeline, from any clip."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from apps.preview import Preview
from apps.preview_stages import open_source_of, open_stages
from apps.recording import software
from apps.tracker_choice import notes_on_tracking, options_for
from sessions.picture_track import PictureOptions
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.shown_panels import ShownPanels


def record_clip(
    path: Path,
    clip: Path,
    frames: int = 20,
    seams: Sequence[str] = ("frames", "state", "code"),
    lossless: bool = True,
    every: int = 1,
    text: str | None = None,
) -> Path:
    """Track, encode and record the first `frames` of a clip (every n-th one), as a file that is no
    camera's: times are the clip's own."""
    preview = Preview(source=f"video:{clip}", text=text)
    options = SessionOptions(PictureOptions(lossless=lossless), wait_s=30.0, stamped=False)
    with (
        open_source_of(preview) as source,
        open_stages(preview, source, lambda _mesh, _view, _panels: None) as stages,
        SessionWriter(
            path,
            SessionHeader(0, 1_700_000_000_000_000_000, software(), preview.source,
                          "avatars/default", (source.camera,), {"models/none": "0" * 64},
                          "I agree to be recorded. (Nobody)",
                          notes_on_tracking(options_for(source))),
            options,
        ) as writer,
    ):  # fmt: skip
        for frame in itertools.islice(source, 0, frames * every, every):
            state = stages.tracker.track(frame)
            code = stages.avatar.encode(state, frame)
            view = stages.view_of(frame)
            panels = ShownPanels(frame.t_ns, stages.panels_of(state))
            records = {
                "frames": frame, "state": state, "code": code, "views": view, "panels": panels
            }  # fmt: skip
            writer.write(*(records[seam] for seam in seams))
    return path
