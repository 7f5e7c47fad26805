"""Head and hands of one moment put together to one mesh."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.hand_rig import HandRig, guess_elbow
from avatar.mesh_layout import MeshLayout, MeshPiece
from streams.rigid import Rigid
from streams.topology import PARTS, Topology
from streams.tracked_state import SIDES, HandPose
from streams.view import View

Float32 = npt.NDArray[np.float32]


class MeshAssembly:
    """What does not change of one avatar's meshes."""

    def __init__(self, layout: MeshLayout, head: MeshPiece, hands: HandRig) -> None:
        self._layout, self._head, self._hands = layout, head, hands
        parts = np.where(hands.cloth > 0, PARTS.index("cloth"), PARTS.index("skin"))
        self._hand_pieces = {
            side: MeshPiece(side, hands.faces(side), hands.atlas_uv(side), parts.astype(np.uint8))
            for side in SIDES
        }

    def join(
        self,
        head: tuple[Float32, Float32] | None,
        hands: tuple[HandPose, ...],
        world_from_head: Rigid | None,
    ) -> tuple[Topology, Float32, Float32]:
        """Topology, vertices and normals of the head's (vertices, normals), where it is seen, and
        of the posed hands."""
        pieces: list[MeshPiece] = []
        vertices, normals = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.float32)]
        if head is not None:
            pieces.append(self._head)
            vertices.append(head[0])
            normals.append(head[1])
        for side in SIDES:
            hand = next((hand for hand in hands if hand.side == side), None)
            if hand is None:
                continue
            elbow = guess_elbow(world_from_head, hand) if world_from_head else None
            v, n = self._hands.pose(hand, elbow)
            pieces.append(self._hand_pieces[side])
            vertices.append(v)
            normals.append(n)
        topology = self._layout.topology(tuple(pieces))
        return topology, np.concatenate(vertices), np.concatenate(normals)

    def whole(self) -> Topology:
        """Of the head and both hands, left first: for those who keep what is not there out of sight
        instead of changing the topology."""
        return self._layout.topology((self._head, *(self._hand_pieces[side] for side in SIDES)))


def view_direction(world_from_head: Rigid, view: View | None) -> Float32:
    """(3,) float32 unit vector, head frame, from the head towards the eye that looks at it."""
    eye = view.world_from_eye.xyz if view is not None else np.zeros(3)
    towards = world_from_head.inverse().apply(eye)
    distance = float(np.linalg.norm(towards))
    if distance < 1e-6:  # an eye inside the head has no side
        return np.array([0.0, 0.0, 1.0], np.float32)
    return (towards / distance).astype(np.float32)
