"""A recorded session in the formats of others: what of it goes into which file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from apps.export_options import ExportOptions
from apps.secret import secret_of
from apps.sound_line import SoundFormat
from apps.usage import FailedError
from sessions.reader import SessionReader
from sessions.seams import Record
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.shown_panels import ShownPanels
from streams.tracked_state import SIDES, TrackedState
from streams.view import View

if TYPE_CHECKING:
    from apps.session_film import FilmTake

USUAL_SIZE = (1280, 720)


def export_session(export: ExportOptions) -> tuple[tuple[Path, ...], str]:
    """Write `export.out`; return the files and what is in them, in words.

    Raises SessionError for a session that cannot be read, FailedError where it does not hold what
    the format needs, ImportError without the format's extra, OSError when a file cannot be written.
    """
    path = Path(export.what)
    with SessionReader(path, secret_of(path, export.key_file)) as session:
        part = _Part(session, export)
        written, said = _written(part, export.out.suffix.lower())
        return written, "; ".join([said, *dict.fromkeys(part.notes)])


def _written(part: _Part, ending: str) -> tuple[tuple[Path, ...], str]:
    out = part.export.out
    if ending == ".mp4":
        return (out,), _write_film(part)
    elif ending == ".rrd":
        return (out,), _write_rerun(part)
    elif ending in (".glb", ".gltf"):
        return (out,), _write_gltf(part)
    elif ending == ".bvh":
        return _write_bvh(part)
    return (out,), _write_table(part)


class _Part:
    """What of a session is exported."""

    def __init__(self, session: SessionReader, export: ExportOptions) -> None:
        self.session, self.export = session, export
        self.notes: list[str] = []
        """What a user should know of what was chosen."""
        self.start_ns = session.start_ns + round((export.start or 0.0) * 1e9)
        self.end_ns = None if export.end is None else session.start_ns + round(export.end * 1e9)

    def records(self, *seams: str, sources: Iterable[str] | None = None) -> Iterator[Record]:
        """In the order of their times; first the panels that are shown already at --start."""
        start_ns = None if self.export.start is None else self.start_ns
        if start_ns is not None and "panels" in seams:
            shown = self.session.at("panels", start_ns)
            if shown is not None and isinstance(shown.record, ShownPanels):
                yield replace(shown.record, t_ns=start_ns)
        chosen = None if sources is None else tuple(sources)
        for each in self.session.read(seams, start_ns, self.end_ns, chosen):
            yield each.record

    def source(self, seam: str) -> str:
        """The one whose records are taken: --camera's, or the first.

        Raises FailedError when there is none.
        """
        names = [c.source for c in self.session.channels if c.seam == seam and c.count]
        if not names:
            held = ", ".join(self.session.seams) or "nothing"
            raise FailedError(
                f"{self.export.what}: holds no {seam} to write {self.export.out.suffix} from, "
                f"only {held}"
            )
        asked = self.export.camera
        if asked is not None and asked not in names:
            raise FailedError(
                f"--camera {asked}: {self.export.what} has {', '.join(map(repr, names))}"
            )
        if asked is None and len(names) > 1:
            others = ", ".join(map(repr, names[1:]))
            self.notes.append(f"of {names[0]!r}; choose {others} with --camera")
        return asked or names[0]

    def states(self) -> list[TrackedState]:
        """Of one source. Raises FailedError when there is none in this part."""
        source = self.source("state")
        found = self.records("state", sources=(source,))
        states = [record for record in found if isinstance(record, TrackedState)]
        if not states:
            raise FailedError(f"{self.export.what}: holds no state between --start and --end")
        return states

    def sound(self) -> tuple[SoundFormat | None, tuple[str, ...]]:
        """Of the first microphone or sound track, and its name; none where nothing was heard."""
        heard = self.session.sources("audio")[:1]
        first = next(self.records("audio", sources=heard), None) if heard else None
        if not isinstance(first, AudioBlock):
            return None, ()
        return SoundFormat.of(first), heard

    def drawn_from(self, avatar_id: str, asked: str | None) -> tuple[str, str]:
        """("code" or "state", its source) that the avatar is decoded from: its own codes, if some
        were recorded. Raises FailedError where there is nothing to draw from."""
        channels = self.session.channels
        coded = avatar_id in {c.source for c in channels if c.seam == "code" and c.count}
        if asked == "code" and not coded:
            whose = ", ".join(self.session.sources("code")) or "nobody"
            raise FailedError(
                f"{self.export.what}: holds codes of {whose}, not of {avatar_id}; choose another "
                "--avatar, or --from state"
            )
        if asked == "code" or (asked is None and coded):
            return "code", avatar_id
        return "state", self.source("state")

    def camera(self) -> Camera:
        """Through whose eyes an avatar is drawn."""
        asked = self.export.camera
        known = [c.camera for c in self.session.channels if c.camera is not None]
        known += self.session.header.cameras
        named = [camera for camera in known if asked is None or camera.name == asked]
        return named[0] if named else Camera.guessed(USUAL_SIZE)

    def avatar(self) -> str:
        """Who is drawn or animated."""
        coded = self.session.sources("code")
        whose = coded[0].removeprefix("avatars/") if coded else "default"
        return self.export.avatar or self.session.header.avatar or whose


def _write_film(part: _Part) -> str:
    from apps.session_film import nominal_fps, recorded_pictures, write_film

    export, session = part.export, part.session
    seam = export.from_
    if seam is None and export.avatar is None and "frames" in session.seams:
        seam = "frames"
    if seam != "frames":
        return _draw_film(part, seam)
    camera = part.source("frames")
    sound, heard = part.sound()
    take = write_film(
        recorded_pictures(part.records("frames", "audio", sources=(camera, *heard))),
        export.out,
        nominal_fps(session.times("frames", camera)),
        sound,
    )
    return f"{take.pictures} pictures of {camera}" + _with_sound(take)


def _draw_film(part: _Part, seam: str | None) -> str:
    import cv2

    from apps.session_film import drawn_pictures, nominal_fps, write_film
    from apps.viewpoint import default_size, fitted_view
    from avatar.opening import open_avatar
    from render.renderer import RenderOptions, open_renderer

    cv2.setNumThreads(1)
    export, name, camera = part.export, part.avatar(), part.camera()
    size = export.wanted_size() or default_size(camera)

    def view_of(t_ns: int) -> View:
        return fitted_view(camera, size, t_ns)

    sound, heard = part.sound()
    with (
        open_avatar(name) as avatar,
        open_renderer("gl", RenderOptions(depth=False)) as renderer,
    ):
        seam, source = part.drawn_from(avatar.id, seam)
        # Panels have no source.
        records = part.records(seam, "panels", "audio", sources=(source, "", *heard))
        take = write_film(
            drawn_pictures(records, avatar, renderer.draw, view_of),
            export.out,
            nominal_fps(part.session.times(seam, source)),
            sound,
        )
    return f"{take.pictures} pictures of {name} drawn from the {seam}" + _with_sound(take)


def _write_rerun(part: _Part) -> str:
    from apps.session_film import nominal_fps
    from apps.session_rerun import RerunOptions, import_rerun, write_rerun
    from avatar.opening import open_avatar

    import_rerun()
    session, export = part.session, part.export
    fps = max(
        (nominal_fps(session.times("frames", name)) for name in session.sources("frames")),
        default=30.0,
    )
    with ExitStack() as opened:
        avatar, mesh_from, drawn = None, "state", ""
        if export.from_ != "frames" and {"state", "code"} & set(session.seams):
            avatar = opened.enter_context(open_avatar(part.avatar()))
            mesh_from, _ = part.drawn_from(avatar.id, export.from_)
            drawn = f", {part.avatar()} decoded from the {mesh_from}"
        name = Path(export.what).stem
        options = RerunOptions(name, mesh_from=mesh_from, fps=fps)
        counts = write_rerun(
            part.records(*session.seams), export.out, part.start_ns, avatar, options
        )
    return ", ".join(f"{count} {seam}" for seam, count in counts.items()) + drawn


def _write_gltf(part: _Part) -> str:
    from avatar.blend_shape_head import open_blend_shape_head
    from avatar.gltf_file import write_gltf
    from avatar.hand_rig import HandRig
    from avatar.person_take import PersonTake

    states = part.states()
    head = open_blend_shape_head(part.avatar()).textured(part.export.texture)
    take = PersonTake.of(states, head, HandRig.open())
    write_gltf(head, part.export.out, take)
    hands = " and ".join(take.hands) or "no"
    return (
        f"{head.name}, {len(states)} moments in {take.times_s[-1]:.1f} s, face seen in "
        f"{int(take.seen.sum())}, {hands} hand{'s' * (len(take.hands) != 1)}"
    )


def _write_table(part: _Part) -> str:
    from sessions.state_table import StateTable, moments_of
    from sessions.table_file import write_table

    session, export = part.session, part.export
    seams = [seam for seam in ("state", "code") if seam in session.seams]
    if not seams:
        part.source("state")  # raises: there is none
    code = next((r for r in part.records("code") if isinstance(r, AvatarCode)), None)
    table = StateTable.of(code, export.landmarks)
    chosen = (r for r in part.records(*seams) if isinstance(r, TrackedState | AvatarCode))
    count = write_table(table.columns, table.rows(moments_of(chosen)), export.out)
    return f"{count} rows, {len(table.columns)} columns from {' and '.join(seams)}"


def _write_bvh(part: _Part) -> tuple[tuple[Path, ...], str]:
    from sessions.hand_bvh import BvhOptions, write_hand_bvh

    states, out = part.states(), part.export.out
    written, said = [], []
    for side in SIDES:
        moments = [(state.t_ns, state.hand(side)) for state in states]
        if all(hand is None for _, hand in moments):
            continue
        path = out.with_name(f"{out.stem}-{side}{out.suffix}")
        take = write_hand_bvh(moments, side, path, BvhOptions(part.export.fps))
        written.append(path)
        said.append(
            f"{side} seen in {take.seen} of {take.frames} frames, {take.error_mm:.1f} mm from what "
            "was tracked"
        )
    if not written:
        raise FailedError(f"{part.export.what}: no hand is seen in it, so there is no {out}")
    return tuple(written), "; ".join(said)


def _with_sound(take: FilmTake) -> str:
    return ", with sound" if take.sound else ", no sound"
