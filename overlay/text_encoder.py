"""English text as vectors whose angle tells how close two meanings are."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from overlay.onnx_session import open_session
from overlay.word_pieces import WordPieces

LONGEST = 128
"""Pieces of a text that are read."""


class TextEncoder:
    """all-MiniLM-L6-v2 (Reimers and Gurevych 2019, "Sentence-BERT"; Wang et al. 2020, "MiniLM")
    with int8 weights, on the CPU.

    Raises AssetError when its files are absent or not the ones in the manifest.
    """

    def __init__(self, threads: int = 1) -> None:
        self._pieces = WordPieces.read(asset_path("models/minilm_l6_vocabulary.txt"))
        self._session = open_session(str(asset_path("models/minilm_l6_int8.onnx")), threads)
        self._one = functools.lru_cache(maxsize=1024)(self._encode_one)

    def encode(self, text: str) -> npt.NDArray[np.float32]:
        """(384,) float32 of length 1, read-only. The last texts are remembered.

        One text a run: the int8 activations share their scale within a batch, so that beside
        others a text's vector would differ in the third digit.
        """
        return self._one(text)

    def tokens(self, text: str) -> npt.NDArray[np.float32]:
        """(pieces, 384) float32: what each piece of the text means where it stands, between the
        marks of start and end."""
        numbers = np.array([self._pieces.encode(text, LONGEST)], np.int64)
        feed = {
            "input_ids": numbers,
            "attention_mask": np.ones_like(numbers),
            "token_type_ids": np.zeros_like(numbers),
        }
        tokens: npt.NDArray[np.float32] = self._session.run(["last_hidden_state"], feed)[0]
        return tokens[0]

    def _encode_one(self, text: str) -> npt.NDArray[np.float32]:
        mean = self.tokens(text).mean(axis=0)
        vector = np.asarray(mean / np.linalg.norm(mean), np.float32)
        vector.flags.writeable = False
        return vector
