// Large things that never change, fetched once by their SHA-256, which is checked.

import { hexOf, WireError } from "./messages.js";

const MOST_KEPT = 32;
const TIMEOUT_MS = 60000;

export class Blobs {
  /** `base`: the URL that hashes are appended to. */
  constructor(base) {
    this.base = base;
    this.kept = new Map();
  }

  /** The blob's bytes as `read` makes something of them; the same promise for the same hash. */
  of(sha256, read) {
    let found = this.kept.get(sha256);
    if (!found) {
      found = this.#fetch(sha256).then(read);
      this.kept.set(sha256, found);
      found.catch(() => this.kept.delete(sha256));
      if (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value);
    }
    return found;
  }

  async #fetch(sha256) {
    const answer = await fetch(this.base + sha256, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new WireError(`blob ${sha256.slice(0, 8)}: the server said ${answer.status}`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const hex = hexOf(digest);
    if (hex !== sha256) throw new WireError(`blob ${sha256.slice(0, 8)}: other bytes came`);
    return bytes;
  }
}
