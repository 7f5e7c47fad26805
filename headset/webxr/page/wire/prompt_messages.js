// What the page says of the pictures that its person wants: the twin of
// headset/webxr/prompt_messages.py.

import { placePart } from "./client_messages.js";
import { findPart, Kind, needPart, packMessage, Part, WireError } from "./messages.js";

export const Act = Object.freeze({ TYPED: 0, KEPT: 1, TAKEN: 2 });
export const MOST_WORDS = 4096; // bytes

const utf8 = (text) => new TextEncoder().encode(text);

export const prompt = (words, act = Act.TYPED) =>
  packMessage({ kind: Kind.PROMPT, sections: [{ kind: Part.WORDS, flags: act, data: utf8(words) }] });

export const panelChosen = (id) =>
  packMessage({ kind: Kind.PANEL_CHOSEN, sections: [{ kind: Part.TEXT, data: utf8(id) }] });

export const panelDismissed = (id) =>
  packMessage({ kind: Kind.PANEL_DISMISSED, sections: [{ kind: Part.TEXT, data: utf8(id) }] });

/** `worldFromPinch`: {wxyz, xyz}. */
export const pinched = (worldFromPinch) =>
  packMessage({ kind: Kind.PINCHED, sections: [placePart(worldFromPinch, [1, 1])] });

/** `samples`: Int16Array at 16 kHz, 8,000 at most. */
export function speech(samples, last) {
  const data = new Uint8Array(2 * samples.length);
  const view = new DataView(data.buffer);
  samples.forEach((sample, k) => view.setInt16(2 * k, sample, true));
  return packMessage({ kind: Kind.SPEECH, sections: [{ kind: Part.PCM, flags: last ? 1 : 0, data }] });
}

/** The words of a prompt that the server tells. */
export function readPrompt(message) {
  needPart(message, Part.WORDS);
  const { data } = findPart(message, Part.WORDS);
  if (data.length > MOST_WORDS) throw new WireError("prompt: too many words");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch {
    throw new WireError("prompt: expected UTF-8");
  }
}
