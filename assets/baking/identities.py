"""The people that ship: which MakeHuman targets make each face, and what colours it.

Four invented adults of different sex, age and skin tone. The numbers were chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from assets.baking.base_mesh import BaseMesh, Float


@dataclass(frozen=True, slots=True)
class Identity:
    """One person's shape as weights of morph targets."""

    name: str
    gender: str
    ages: dict[str, float]
    """Weights of "young" and "old", summing to 1."""
    origins: dict[str, float]
    """Weights of MakeHuman's "caucasian", "asian" and "african" shape targets, summing to 1."""
    targets: dict[str, float] = field(default_factory=dict)
    """Further targets; an entry with "l-" stands for the pair."""
    muscle: str = "averagemuscle"


IDENTITIES: tuple[Identity, ...] = (
    Identity(
        "default", "male", {"young": 0.72, "old": 0.28},
        {"caucasian": 0.75, "asian": 0.15, "african": 0.10},
        {
            "nose/nose-scale-vert-incr": 0.15, "nose/nose-hump-incr": 0.25,
            "nose/nose-width2-incr": 0.15, "chin/chin-width-incr": 0.25,
            "chin/chin-prominent-incr": 0.15, "head/head-oval": 0.35,
            "eyes/l-eye-height2-incr": 0.25, "cheek/l-cheek-bones-incr": 0.2,
            "asym/asym-nose-1-l": 0.35, "asym/asym-mouth-1-r": 0.25, "asym/asym-brown-1-l": 0.3,
            "mouth/mouth-lowerlip-volume-incr": 0.25, "mouth/mouth-upperlip-volume-incr": 0.15,
        },
    ),
    Identity(
        "amara", "female", {"young": 0.92, "old": 0.08},
        {"caucasian": 0.1, "asian": 0.05, "african": 0.85},
        {
            "head/head-oval": 0.6, "cheek/l-cheek-bones-incr": 0.45,
            "mouth/mouth-upperlip-volume-incr": 0.35, "mouth/mouth-lowerlip-volume-incr": 0.35,
            "eyes/l-eye-scale-incr": 0.15, "nose/nose-point-width-incr": 0.1,
            "asym/asym-eye-1-r": 0.25, "asym/asym-mouth-2-l": 0.25,
        },
    ),
    Identity(
        "mei", "female", {"young": 0.6, "old": 0.4},
        {"caucasian": 0.08, "asian": 0.9, "african": 0.02},
        {
            "head/head-round": 0.3, "chin/chin-width-decr": 0.15, "nose/nose-hump-decr": 0.2,
            "eyes/l-eye-epicanthus-in": 0.3, "mouth/mouth-cupidsbow-incr": 0.3,
            "cheek/l-cheek-volume-incr": 0.25, "asym/asym-cheek-1-l": 0.25,
            "asym/asym-brown-2-r": 0.2,
        },
    ),
    Identity(
        "walter", "male", {"young": 0.12, "old": 0.88},
        {"caucasian": 0.95, "asian": 0.02, "african": 0.03},
        {
            "head/head-rectangular": 0.3, "nose/nose-scale-depth-incr": 0.3,
            "nose/nose-point-down": 0.25, "eyes/l-eye-bag-incr": 0.35,
            "eyes/l-eye-eyefold-down": 0.35, "mouth/mouth-laugh-lines-in": 0.4,
            "neck/neck-double-incr": 0.2, "ears/l-ear-scale-incr": 0.25,
            "asym/asym-nose-2-l": 0.3, "asym/asym-jaw-1-r": 0.3, "head/head-age-incr": 0.25,
        },
    ),
)  # fmt: skip


def shaped_vertices(mesh: BaseMesh, identity: Identity) -> Float:
    """(N, 3) metres: the base mesh of this person, arms still as modelled."""
    vertices = mesh.vertices.copy()
    gender = identity.gender
    for age, weight in identity.ages.items():
        body = f"universal-{gender}-{age}-{identity.muscle}-averageweight"
        vertices += weight * mesh.target(f"macrodetails/{body}")
        for origin, share in identity.origins.items():
            vertices += weight * share * mesh.target(f"macrodetails/{origin}-{gender}-{age}")
    for name, weight in identity.targets.items():
        pair = [name, name.replace("/l-", "/r-")] if "/l-" in name else [name]
        for target in pair:
            vertices += weight * mesh.target(target)
    return vertices


def lower_arms(mesh: BaseMesh, vertices: Float, weights: dict[str, Float]) -> Float:
    """(N, 3): arms turned down from the modelling pose to hang beside the body.

    Linear-blend skinning about the shoulder (28 degrees) and, less, the collar bone (5 degrees):
    a person in front of a webcam does not hold the arms off the body.
    """
    posed = vertices.copy()
    for side, sign in (("L", -1.0), ("R", 1.0)):
        letter = side.lower()
        arm = sum(
            w for bone, w in weights.items()
            if bone.endswith(f".{side}")
            and bone.startswith(("upperarm", "lowerarm", "wrist", "finger", "metacarpal"))
        )  # fmt: skip
        girdle = weights[f"clavicle.{side}"] + weights[f"shoulder01.{side}"] + arm
        turns = (
            (mesh.joint(f"{letter}-shoulder", vertices), np.deg2rad(28.0), arm),
            (mesh.joint(f"{letter}-clavicle", vertices), np.deg2rad(5.0), girdle),
        )
        for pivot, angle, weight in turns:
            share = np.clip(np.asarray(weight), 0.0, 1.0)[:, None]
            c, s = np.cos(sign * angle), np.sin(sign * angle)
            turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            posed += share * ((posed - pivot) @ turn.T + pivot - posed)
    return posed
