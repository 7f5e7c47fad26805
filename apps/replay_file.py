"""A replay written to a file: a film of what is drawn, or a session of its states and codes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from apps.pipeline import Drawn, Pipeline, PipelineOptions
from apps.recording import model_hashes, software
from apps.replay_stages import Replay
from apps.sound_line import SoundFormat
from apps.undrawn import UndrawnAvatar, draw_nothing
from apps.usage import FailedError, one_line
from apps.video_writer import VideoWriter, check_writable
from assets.manifest import sha256_of
from sessions.reader import SessionReader
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock

NEVER_S = 1e9
"""A replay's chunks end by their size alone: when they end must not depend on a clock."""
WAIT_S = 60.0


def write_replay(
    replay: Replay,
    out: Path,
    secret: bytes | None = None,
    options: PipelineOptions | None = None,
) -> str:
    """Write the whole replay as FILE.mp4 or FILE.mcap (sealed by `secret`, if there is one); return
    what to tell the user.

    Raises FailedError when it holds nothing or breaks off; what was replayed is in the file then.
    """
    options = options or PipelineOptions(lossless=True)
    if out.suffix.lower() == ".mcap":
        return _write_session(replay, out, secret, options)
    return _write_film(replay, out, options)


def replay_header(replay: Replay) -> SessionHeader:
    """What a session of a replay says of itself: where it comes from, and the clock, calibrations
    and consent of the original."""
    session, options = replay.session, replay.options
    notes = {
        "live": "no",
        "seams": "state,code",
        "replay of": session.path.name,
        "replay of sha256": sha256_of(session.path),
        "replay from": replay.seam,
        "replay start_s": f"{options.start_s:g}",
    }
    models = model_hashes(replay.avatar_id)
    if replay.seam == "frames":
        notes["replay tracker"] = replay.tracker_name
    else:  # What tracked then is what counts.
        drawn = {name: value for name, value in models.items() if not name.startswith("models/")}
        models = {**session.header.models, **drawn}
    return SessionHeader(
        t_ns=session.header.t_ns,
        unix_ns=session.header.unix_ns,
        software=software(),
        source=f"session:{session.path.name}",
        avatar=replay.avatar_id,
        cameras=session.header.cameras or (replay.source.camera,),
        models=models,
        consent=session.header.consent,
        notes=notes,
    )


def _write_session(
    replay: Replay, out: Path, secret: bytes | None, options: PipelineOptions
) -> str:
    count = 0
    session_options = SessionOptions(flush_s=NEVER_S, wait_s=WAIT_S, stamped=False)
    with SessionWriter(out, replay_header(replay), session_options, secret) as writer:
        try:
            stages = replay.stages(draw_nothing)
            stages = dataclasses.replace(stages, avatar=UndrawnAvatar(stages.avatar))
            with Pipeline(stages, options) as pipeline:
                # Here, not in the stages' threads: the order in the file must not depend on them.
                for drawn in pipeline:
                    writer.write(drawn.state, drawn.code)
                    count += 1
        except Exception as error:
            if not count:
                raise
            raise FailedError(f"{one_line(error)} ({out} holds {count} moments)") from error
    if not count:
        out.unlink()
        raise FailedError(_nothing(replay))
    return f"wrote {out}: states and codes of {count} moments, replayed from {replay.seam}"


def _write_film(replay: Replay, out: Path, options: PipelineOptions) -> str:
    from render.renderer import RenderOptions, open_renderer

    check_writable(out)
    writer: VideoWriter | None = None
    seen = 0
    first_ns = replay.start_ns
    with (
        replay.session.opened_again() as again,  # the pipeline's threads read the other one
        open_renderer("gl", RenderOptions(depth=False)) as renderer,
    ):
        heard = _Heard(again, first_ns)
        try:
            with Pipeline(replay.stages(renderer.draw), options) as pipeline:
                for drawn in pipeline:
                    if drawn.image is None:
                        raise ValueError("write_replay: expected read-back pictures, got none")
                    if writer is None:
                        writer = VideoWriter(
                            out, drawn.image.view.size, replay.source.fps, sound=heard.format
                        )
                    writer.write(drawn.image.rgba, drawn.frame.t_ns - first_ns)
                    for block in heard.until(drawn.frame.t_ns):
                        writer.write_sound(block)
                    seen += shows_somebody(drawn)
        except KeyboardInterrupt:
            if writer is not None:
                print(f"\n{out} holds the {writer.frames} pictures until now", file=sys.stderr)
            raise
        except Exception as error:
            if writer is None or not writer.frames:
                raise
            told = f"{one_line(error)} ({out} holds {writer.frames} pictures)"
            raise FailedError(told) from error
        finally:
            if writer is not None:
                writer.close()
    if writer is None:
        raise FailedError(_nothing(replay))
    if replay.source.damaged:
        raise FailedError(
            f"{replay.session.path}: {replay.source.damaged} of its pictures cannot be decoded; "
            f"{out} holds the other {writer.frames}"
        )
    return f"wrote {out}: {writer.frames} pictures, a person in {seen} of them"


class _Heard:
    """The recorded sound of a replay, along with its pictures; that of the first source."""

    def __init__(self, session: SessionReader, first_ns: int) -> None:
        sources = session.sources("audio")[:1]
        self._first_ns = first_ns
        self._blocks = self._read(session, sources) if sources else iter(())
        self._next = next(self._blocks, None)
        self.format = None if self._next is None else SoundFormat.of(self._next)

    def until(self, t_ns: int) -> Iterator[AudioBlock]:
        """What is heard up to then, its times counted from the first picture's."""
        while self._next is not None and self._next.t_ns <= t_ns:
            yield dataclasses.replace(self._next, t_ns=self._next.t_ns - self._first_ns)
            self._next = next(self._blocks, None)

    def _read(self, session: SessionReader, sources: tuple[str, ...]) -> Iterator[AudioBlock]:
        for found in session.read(("audio",), self._first_ns, sources=sources):
            if isinstance(found.record, AudioBlock):
                yield found.record


def shows_somebody(drawn: Drawn) -> bool:
    """Whether a face or a hand is drawn."""
    return drawn.code.world_from_head is not None or bool(drawn.code.hands)


def _nothing(replay: Replay) -> str:
    return (
        f"{replay.session.path}: holds no {replay.seam} between the times that were asked for; "
        "`visavis inspect` shows what it holds"
    )
