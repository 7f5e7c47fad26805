"""What `visavis preview` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apps.imagine_models import ModelOptions
from apps.rig_choice import check_together
from apps.tracker_choice import check_faces
from apps.usage import UsageError, parse_size
from overlay.panel_places import PLACES
from streams.panel import ANCHORS

HEADSET_SPACES = ("local", "stage")


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """What is shown, from where and how."""

    source: str = "webcam:0"
    """webcam:NUMBER, video:PATH, session:PATH or synthetic:SCENE (demo, range, still, hands,
    away)."""
    avatar: str = "default"
    """Which avatar is drawn."""
    tracker: str = "auto"
    """What tracks: litert, openvino, torch or mediapipe; auto is torch with a CUDA device, else
    litert."""
    faces: int = 1
    """How many faces are followed, 1 to 6. One is yours: the largest at first. From 2 on, hands
    that are nearer to another's face are not taken for yours; not with --tracker mediapipe, nor
    with --more-sources."""
    out: Path | None = None
    """Write FILE.mp4, every frame of the source at its own time; needs no display."""
    record: Path | None = None
    """Also record a session, FILE.mcap: frames, state, code, panels, views (`visavis record` has
    more choices)."""
    size: str | None = None
    """WIDTHxHEIGHT of the picture; by default the source's own, at most 1280 on a side."""
    seconds: float | None = None
    """Stop after so many seconds of the source; by default at its end, or at Ctrl-C or Esc."""
    fov_deg: float | None = None
    """The source camera's angle of view along the longer side of its picture."""
    more_sources: tuple[str, ...] = ()
    """Other cameras, as in --source, that see the same hands (all live, or all files); needs
    --rig."""
    rig: str | None = None
    """The source cameras, calibrated: FILE.json of `visavis calibrate`; of one, FILE.json#NAME."""
    mirrored: bool = False
    """The source delivers mirror images, as some "selfie" cameras do."""
    neutral: float | None = None
    """Learn your calm face from the first so many seconds (look into the camera, lips together);
    kept for your cameras. In a window the key N does it too."""
    predict_ms: float = 0.0
    """Draw head and hands so far ahead of the camera's picture, at most 100: as old as pictures are
    here when they are shown."""
    text: str | None = None
    """Show this text on a panel."""
    image: Path | None = None
    """Show this picture (PNG, JPEG) on a panel."""
    generated_by: str | None = None
    """The model that made --image; it is then labelled as made by AI."""

    anchor: str = "world"
    """Where --text and --image are held: world, head, left-wrist or right-wrist."""
    room: str | None = None
    """Meet others: a room's code, or "new" for one that is printed. Needs --relay."""
    relay: str | None = None
    """Address of the room's relay, as `visavis relay` prints it."""
    name: str | None = None
    """What others in the room call you; by default the avatar's name."""
    silent: bool = False
    """Neither speak nor hear in the room."""
    openxr: bool = False
    """Show it in the headset of this machine's OpenXR runtime, from wherever its wearer looks
    (Linux; pip install 'visavis[openxr]'). --size is then that of each eye's picture."""
    headset_space: str = "local"
    """With --openxr: "local" (the avatar sits before the wearer, also after recentring) or "stage"
    (it stays where it is in the room)."""
    headset_hands: bool = False
    """With --openxr: the hands of whoever wears the headset are the avatar's."""
    imagine: bool = False
    """Type in the window what you want to see: a picture beside the avatar follows the words."""
    prompt: str | None = None
    """The words that --imagine begins with."""
    model: tuple[str, ...] = ("stickers", "generator")
    """What makes the pictures, first the quickest (see `visavis imagine --help`)."""
    like: str | None = None
    """Let the picture follow the camera or the avatar: camera or avatar; the last --model must be
    diffusers:NAME, of the Stable Diffusion kind."""
    seed: int = 0
    """Another seed gives another picture of the same words."""
    place: str = "beside"
    """Where the picture appears: beside (the face), hand (that pinches), desk or backdrop."""
    shelf: tuple[Path, ...] = ()
    """Folders of your own pictures, found beside what was made (kept with Enter) as you type."""
    accept_licence: tuple[str, ...] = ()
    """Models whose terms you have read and accept; only permissive ones need no acceptance."""
    refuse: tuple[Path, ...] = ()
    """Files with words that no picture is made of, beside the list that comes with the program."""
    offline: bool = False
    """Promise that nothing is asked of the network: whatever tries fails."""
    debug_3d: bool = False
    """Show the decoded mesh and what was tracked in space, in Open3D's viewer."""

    def check(self) -> None:
        """Raise UsageError for options that make no sense, before anything is loaded."""
        self.wanted_size()
        if self.fov_deg is not None and not 5.0 <= self.fov_deg <= 170.0:
            raise UsageError(f"--fov-deg {self.fov_deg:g}: expected 5 to 170 degrees")
        if self.rig is not None and self.fov_deg is not None:
            raise UsageError("--rig and --fov-deg both tell the camera; leave one away")
        check_faces(self.faces, self.tracker, bool(self.more_sources))
        check_together(self.source, self.more_sources, self.rig)
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError(f"--seconds {self.seconds:g}: expected more than 0")
        if self.neutral is not None and not 1.0 <= self.neutral <= 60.0:
            raise UsageError(f"--neutral {self.neutral:g}: expected 1 to 60 seconds")
        if not 0.0 <= self.predict_ms <= 100.0:
            raise UsageError(f"--predict-ms {self.predict_ms:g}: expected 0 to 100")
        if self.source.startswith("session:") and (self.neutral is not None or self.predict_ms > 0):
            raise UsageError("--neutral and --predict-ms are for cameras and videos, not sessions")
        if self.predict_ms > 0.0 and (self.room is not None or self.debug_3d):
            raise UsageError("--predict-ms draws here alone; leave --room and --debug-3d away")
        if self.record is not None and (self.neutral is not None or self.predict_ms > 0.0):
            raise UsageError(
                "--record keeps what was seen, the same way throughout; leave --predict-ms away, "
                "and learn --neutral before"
            )
        if self.generated_by is not None and self.image is None:
            raise UsageError("--generated-by says who made --image; give --image PATH too")
        if self.generated_by is not None and not self.generated_by.strip():
            raise UsageError("--generated-by: expected a model's name, got an empty text")
        if self.anchor_name() not in ANCHORS:
            known = ", ".join(name.replace(" ", "-") for name in ANCHORS)
            raise UsageError(f"--anchor {self.anchor}: expected one of {known}")
        if self.text is not None and not self.text.strip():
            raise UsageError("--text: expected some text, got none")
        self._check_room()
        self._check_headset()
        if self.prompt is not None and not self.imagine:
            raise UsageError("--prompt says what to imagine; add --imagine")
        if self.imagine and self.prompt is None and self.out is not None:
            raise UsageError("--imagine: nobody can type into --out; add --prompt WORDS")
        self._check_like()
        if self.place not in PLACES:
            raise UsageError(f"--place {self.place}: expected one of {', '.join(PLACES)}")
        if self.out is not None and self.place != "beside":
            raise UsageError(f"--place {self.place}: only in a window; leave --out away")
        for folder in self.shelf:
            if not folder.is_dir():
                raise UsageError(f"--shelf {folder}: expected a folder of pictures")
        if self.imagine and self.debug_3d:
            raise UsageError("--debug-3d shows a view of its own; leave --imagine away")
        if self.imagine and self.source.startswith("session:"):
            raise UsageError("--imagine: a session shows what was imagined in it; leave it away")
        if self.debug_3d and self.out is not None:
            raise UsageError("--debug-3d shows a view of its own; leave --out away")
        if self.out is not None and self.out.suffix.lower() != ".mp4":
            raise UsageError(f"--out {self.out}: expected a name that ends in .mp4")
        if self.record is not None and self.record.suffix.lower() != ".mcap":
            raise UsageError(f"--record {self.record}: expected a name that ends in .mcap")
        if self.record is not None and self.debug_3d:
            raise UsageError("--debug-3d shows a view of its own; leave --record away")
        if self.out is not None and self._writes_over_source(self.out):
            raise UsageError(f"--out {self.out}: this is the source itself; choose another name")

    def _check_like(self) -> None:
        if self.like is None:
            return
        if self.like not in ("camera", "avatar"):
            raise UsageError(f"--like {self.like}: expected camera or avatar")
        if not self.imagine:
            raise UsageError("--like says what the picture follows; add --imagine")
        if self.out is not None:
            raise UsageError(f"--like {self.like}: only in a window; leave --out away")
        if not self.model or not self.model[-1].startswith("diffusers:"):
            last = self.model[-1] if self.model else "none"
            raise UsageError(
                f"--like {self.like}: --model {last} follows nothing; the last one "
                "must be diffusers:NAME"
            )

    def _check_room(self) -> None:
        if self.room is None:
            for option in ("relay", "name"):
                if getattr(self, option) is not None:
                    raise UsageError(f"--{option} is for a room; give --room too")
            if self.silent:
                raise UsageError("--silent is for a room; give --room too")
        elif self.relay is None:
            raise UsageError("--room: needs --relay, the address that `visavis relay` prints")
        elif self.debug_3d or self.record is not None:
            raise UsageError("--room: others' faces are not yours to keep; leave --record away")
        elif self.openxr:
            raise UsageError("--room: is not shown through OpenXR; use `visavis stream --room`")
        elif self.source.startswith("session:"):
            raise UsageError("--room: a session is no live source; give video:PATH or webcam:0")

    def _check_headset(self) -> None:
        if self.headset_space not in HEADSET_SPACES:
            known = ", ".join(HEADSET_SPACES)
            raise UsageError(f"--headset-space {self.headset_space}: expected one of {known}")
        if not self.openxr and (self.headset_hands or self.headset_space != "local"):
            raise UsageError("--headset-hands and --headset-space need a headset: add --openxr")
        if self.openxr and (self.out is not None or self.debug_3d):
            raise UsageError("--openxr shows in a headset; leave --out and --debug-3d away")

    def anchor_name(self) -> str:
        """The anchor as streams.panel calls it."""
        return self.anchor.replace("-", " ")

    def model_options(self) -> ModelOptions:
        """What makes the pictures of --imagine."""
        return ModelOptions(
            self.model,
            self.offline,
            accepted=self.accept_licence,
            live=self.out is None,
            follows=self.like,
            refuse=self.refuse,
        )

    def wanted_size(self) -> tuple[int, int] | None:
        """What --size says. Raises UsageError."""
        return None if self.size is None else parse_size(self.size)

    def source_file(self) -> Path | None:
        """The video file that is the source, or None when it is something else."""
        kind, _, where = self.source.partition(":")
        return Path(where) if kind == "video" and where else None

    def _writes_over_source(self, out: Path) -> bool:
        source = self.source_file()
        return source is not None and source.exists() and out.exists() and source.samefile(out)
