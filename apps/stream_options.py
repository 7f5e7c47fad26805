"""What `visavis stream` is asked for, and where it keeps what it remembers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apps.preview_options import PreviewOptions
from apps.usage import UsageError

PORT = 8443
DRIVES = ("camera", "headset")
HEADSET = "headset"


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What is streamed, to whom and how."""

    source: str | None = None
    """webcam:NUMBER (0 by default), video:PATH, session:PATH, synthetic:SCENE, or headset: no
    camera, the headset's own head and hands drive the avatar. Files start over at their end."""
    avatar: str = "default"
    """Which avatar is shown."""
    tracker: str = "auto"
    """What tracks: litert, openvino, torch or mediapipe; auto is torch with a CUDA device, else
    litert."""
    faces: int = 1
    """How many faces are followed, 1 to 6. One is yours: the largest at first. From 2 on, hands
    that are nearer to another's face are not taken for yours; not with --tracker mediapipe, nor
    with --more-sources."""
    lan: bool = False
    """Let this network's devices in; otherwise only this machine."""
    usb: bool = False
    """Let a headset at a USB cable in, through adb."""
    cert: Path | None = None
    """Your own certificate (PEM) instead of a self-signed one; with --key."""
    key: Path | None = None
    """Private key of --cert (PEM)."""
    port: int = PORT
    """Of page and WebSocket; 0 takes a free one."""
    devices: bool = False
    """List the devices that are paired, and end."""
    revoke: str | None = None
    """Let the device of this NAME in no more, and end; a stream that runs drops it at once."""
    preview: bool = False
    """Show the same in a window here, too."""
    drive: str | None = None
    """What drives the avatar: camera or headset (which is --source headset)."""
    room: str | None = None
    """Meet others: a room's code, or "new" for one that is printed. Needs --relay."""
    relay: str | None = None
    """Address of the room's relay, as `visavis relay` prints it."""
    name: str | None = None
    """What others in the room call you; by default the avatar's name."""
    silent: bool = False
    """Do not speak in the room."""
    record: Path | None = None
    """Also record a session, FILE.mcap: what the headset reports, state, code, panels, views."""
    size: str | None = None
    """WIDTHxHEIGHT of --preview's window."""
    seconds: float | None = None
    """Stop after so many seconds; by default at Ctrl-C."""
    fov_deg: float | None = None
    """The source camera's angle of view along the longer side of its picture."""
    more_sources: tuple[str, ...] = ()
    """Other cameras, as in --source, that see the same hands (all live, or all files); needs
    --rig."""
    rig: str | None = None
    """The source cameras, calibrated: FILE.json of `visavis calibrate`; of one, FILE.json#NAME."""
    mirrored: bool = False
    """The source delivers mirror images, as some "selfie" cameras do."""
    text: str | None = None
    """Show this text on a panel."""
    image: Path | None = None
    """Show this picture (PNG, JPEG) on a panel."""
    generated_by: str | None = None
    """The model that made --image; it is then labelled as made by AI."""
    anchor: str = "world"
    """Where --text and --image are held: world, head, left-wrist or right-wrist."""
    imagine: bool = False
    """Type or say in the page what you want to see: a picture beside the avatar follows the
    words."""
    prompt: str | None = None
    """The words that --imagine begins with."""
    model: tuple[str, ...] = ("stickers",)
    """What makes the pictures, first the quickest (see `visavis imagine --help`)."""
    seed: int = 0
    """Another seed gives another picture of the same words."""
    place: str = "beside"
    """Where the picture appears: beside (the head), hand (that pinches), desk or backdrop."""
    shelf: tuple[Path, ...] = ()
    """Folders of your own pictures, found beside what was made (kept with Enter) as you type."""
    accept_licence: tuple[str, ...] = ()
    """Models whose terms you have read and accept; only permissive ones need no acceptance."""
    refuse: tuple[Path, ...] = ()
    """Files with words that no picture is made of, beside the list that comes with the program."""

    def check(self) -> None:
        """Raise UsageError for options that make no sense, before anything is loaded."""
        if (self.cert is None) != (self.key is None):
            given, missing = ("--cert", "--key") if self.key is None else ("--key", "--cert")
            raise UsageError(f"{given} without {missing}: expected both")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port}: expected 0 to 65535")
        if self.drive is not None and self.drive not in DRIVES:
            raise UsageError(f"--drive {self.drive}: expected {' or '.join(DRIVES)}")
        if self.drive == HEADSET and self.source not in (None, HEADSET):
            raise UsageError(f"--drive headset needs no camera; leave --source {self.source} away")
        if self.drive == "camera" and self.source == HEADSET:
            raise UsageError("--source headset has no camera; leave --drive camera away")
        if self.driven_by_headset and (self.rig is not None or self.more_sources):
            raise UsageError("--drive headset needs no camera; leave --rig and --more-sources away")
        self.shown().check()

    @property
    def driven_by_headset(self) -> bool:
        """Whether there is no camera."""
        return HEADSET in (self.source, self.drive)

    def shown(self) -> PreviewOptions:
        """The same as a preview's options."""
        source = HEADSET if self.driven_by_headset else self.source or "webcam:0"
        return PreviewOptions(
            source, self.avatar, self.tracker, self.faces, record=self.record, size=self.size,
            seconds=self.seconds, fov_deg=self.fov_deg, more_sources=self.more_sources,
            rig=self.rig, mirrored=self.mirrored, text=self.text, image=self.image,
            generated_by=self.generated_by, anchor=self.anchor, room=self.room, relay=self.relay,
            name=self.name, silent=self.silent, imagine=self.imagine, prompt=self.prompt,
            model=self.model, seed=self.seed, place=self.place, shelf=self.shelf,
            accept_licence=self.accept_licence, refuse=self.refuse,
        )  # fmt: skip


def stream_folder() -> Path:
    """Where certificate and devices lie, beside this user's avatars."""
    from avatar.signature import user_folder

    return user_folder() / "stream"


def devices_folder() -> Path:
    """The paired devices."""
    return stream_folder() / "devices"
