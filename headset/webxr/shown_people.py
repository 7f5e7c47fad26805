"""What is to be shown at this moment, put in by the pipeline's threads and read by the network's.

Everything but sound is the newest only: whoever reads too slowly misses what was between.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from headset.webxr.flow_control import Sources
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.shown_panels import ShownPanels
from streams.view import View

MOST_PEOPLE = 64
CODES_KEPT = 3
"""Older code packets are lost to a page that is behind: the decoder conceals that."""
SOUND_KEPT = 25
"""Packets of 20 ms."""


@dataclass(frozen=True, slots=True, eq=False)
class StereoPicture:
    """The server's own drawing for a headset's eyes."""

    t_ns: int
    rgb: npt.NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB: the views side by side from the left, all of one size."""
    views: tuple[View, ...]


@dataclass(slots=True)
class ShownPerson:
    """One person's newest. Numbers count what came, from 1."""

    mesh: MeshTexture | MeshNodes | None = None
    mesh_number: int = 0
    codes: deque[tuple[int, bytes, int]] = field(default_factory=lambda: deque(maxlen=CODES_KEPT))
    """(number, packet, t_ns)."""
    code_number: int = 0
    decoder: str | None = None
    """SHA-256 of the page's decoder for the codes."""
    picture: StereoPicture | None = None
    picture_number: int = 0

    @property
    def sources(self) -> Sources:
        code = self.decoder is not None and self.code_number > 0
        return Sources(self.mesh is not None, code, self.picture is not None)


class ShownPeople:
    """Thread-safe. `listen` is called after each change, in the thread that made it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._people: dict[int, ShownPerson] = {}
        self._panels: ShownPanels | None = None
        self._listeners: list[Callable[[], None]] = []
        self._sound_listeners: list[Callable[[bytes, int, int], None]] = []

    def listen(
        self, changed: Callable[[], None], heard: Callable[[bytes, int, int], None]
    ) -> Callable[[], None]:
        """Call both from now on; returns what ends that."""
        with self._lock:
            self._listeners.append(changed)
            self._sound_listeners.append(heard)

        def end() -> None:
            with self._lock:
                self._listeners.remove(changed)
                self._sound_listeners.remove(heard)

        return end

    def show(self, mesh: MeshTexture | MeshNodes, person: int) -> None:
        with self._lock:
            shown = self._person(person)
            shown.mesh = mesh
            shown.mesh_number += 1
        self._tell()

    def show_code(self, packet: bytes, t_ns: int, person: int) -> None:
        with self._lock:
            shown = self._person(person)
            shown.code_number += 1
            shown.codes.append((shown.code_number, packet, t_ns))
        self._tell()

    def describe(self, decoder: str, person: int) -> None:
        with self._lock:
            self._person(person).decoder = decoder
        self._tell()

    def show_picture(self, picture: StereoPicture, person: int = 0) -> None:
        with self._lock:
            shown = self._person(person)
            shown.picture = picture
            shown.picture_number += 1
        self._tell()

    def show_panels(self, panels: ShownPanels) -> None:
        with self._lock:
            self._panels = panels
        self._tell()

    def hear(self, packet: bytes, t_ns: int, person: int) -> None:
        with self._lock:
            listeners = tuple(self._sound_listeners)
        for heard in listeners:
            heard(packet, t_ns, person)

    def remove(self, person: int) -> None:
        """They left: an empty scene is sent."""
        with self._lock:
            self._people.pop(person, None)
        self._tell()

    def people(self) -> dict[int, ShownPerson]:
        """As they are now: copies."""
        with self._lock:
            return {
                person: ShownPerson(
                    s.mesh, s.mesh_number, deque(s.codes), s.code_number, s.decoder, s.picture,
                    s.picture_number,
                )
                for person, s in self._people.items()
            }  # fmt: skip

    def panels(self) -> ShownPanels | None:
        with self._lock:
            return self._panels

    def _person(self, person: int) -> ShownPerson:
        if person not in self._people and len(self._people) >= MOST_PEOPLE:
            raise ValueError(f"Presentation: expected at most {MOST_PEOPLE} people")
        if not 0 <= person <= 65_535:
            raise ValueError(f"Presentation: expected a person from 0 to 65535, got {person}")
        return self._people.setdefault(person, ShownPerson())

    def _tell(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for changed in listeners:
            changed()
