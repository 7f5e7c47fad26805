"""Under which terms a model may be used, and which of them somebody has to accept first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from overlay.image_model import ModelError

PERMISSIVE = frozenset(("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc0-1.0"))
"""Licences without terms on how pictures may be used: nobody has to accept them."""

KNOWN = {
    "stabilityai/sd-turbo": "Stability AI Community Licence (commercial use up to 1 M USD a year)",
    "stabilityai/sdxl-turbo": "Stability AI Non-Commercial Research Community Licence",
    "black-forest-labs/flux.1-schnell": "apache-2.0",
    "black-forest-labs/flux.1-dev": "FLUX.1 [dev] Non-Commercial License",
    "tongyi-mai/z-image-turbo": "apache-2.0",
}
"""Terms of well-known models by their name in lower case, as their cards stated them in 2026."""
UNKNOWN = "unknown terms"


@dataclass(frozen=True, slots=True)
class ModelLicence:
    """What a model's card says."""

    model: str
    name: str

    @property
    def needs_acceptance(self) -> bool:
        return self.name.lower() not in PERMISSIVE

    def require(self, accepted: tuple[str, ...]) -> None:
        """Raise ModelError unless its terms are free, or `accepted` names the model."""
        if self.needs_acceptance and self.model not in accepted:
            raise ModelError(
                f"{self.model}: {self.name}; read the model's card, and if you accept its terms "
                f"say so with --accept-licence {self.model}"
            )


def licence_of(name_or_path: str) -> ModelLicence:
    """From the card (README.md) of a model in a folder, else from KNOWN, else unknown.

    Nothing is asked of the network: what one accepts must not change behind one's back.
    """
    card = Path(name_or_path) / "README.md"
    if card.is_file():
        return ModelLicence(name_or_path, _in_card(card) or UNKNOWN)
    return ModelLicence(name_or_path, KNOWN.get(name_or_path.lower(), UNKNOWN))


def _in_card(card: Path) -> str | None:
    """ "license:" in the block between "---" lines at the card's beginning."""
    text = card.read_text(encoding="utf-8", errors="replace")[:20_000]
    block = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    if block is None:
        return None
    found = {
        key: value.strip().strip("\"'")
        for key, value in re.findall(r"^(license(?:_name)?):[ \t]*(.+)$", block[1], re.MULTILINE)
    }
    named = found.get("license_name")
    return named if named and found.get("license", "other") == "other" else found.get("license")
