// When what was sent is shown: a little after it came, so that there is mostly a packet on either
// side of the moment, and motion is interpolated instead of guessed.
//
// The sender's clock is read off the packets that were quickest (after Moon, Skelly and Towsley 1999,
// "Estimation and removal of clock skew from network delay measurements"); the delay follows the time
// between packets and how much later than the quickest others come, and changes too slowly to be
// seen.

import { clamped } from "./rigid.js";

const BETWEEN = 1.1; // of the time between packets
const LATENESS = 2; // of the mean lateness
const MOST_DELAY_MS = 160;
const FOLLOWS = 0.1; // of a new measurement
const SLEW = 0.1; // of the time that passes: how much quicker or slower time goes by meanwhile
const JUMP_MS = 300; // farther off, time jumps
const FORGETS = 1e-3; // ms a ms by which the quickest packet's advantage is forgotten: clocks drift
const LONGEST_MS = 1000; // between packets of one run

export class Playout {
  constructor() {
    this.begin();
  }

  begin() {
    this.newest = null; // {tMs, atMs}: the sender's time and when it came
    this.lead = -Infinity; // sender's clock minus ours, less the quickest packet's way
    this.betweenMs = null;
    this.latenessMs = 0;
    this.offset = null; // what is shown against our clock
    this.askedMs = null;
  }

  /** A packet of the sender's time tMs came at our time atMs; `gap` after the one before. */
  came(tMs, atMs, gap = 1) {
    if (this.newest) {
      const passedMs = tMs - this.newest.tMs;
      if (Math.abs(passedMs) > LONGEST_MS) {
        this.begin(); // a pause, or another clock
      } else if (passedMs > 0) {
        const betweenMs = passedMs / Math.max(gap, 1);
        this.betweenMs ??= betweenMs;
        this.betweenMs += FOLLOWS * (betweenMs - this.betweenMs);
        this.lead -= FORGETS * Math.max(atMs - this.newest.atMs, 0);
      }
    }
    this.lead = Math.max(this.lead, tMs - atMs);
    this.latenessMs += FOLLOWS * (this.lead - (tMs - atMs) - this.latenessMs);
    this.newest = { tMs, atMs };
  }

  /** The sender's time to show at our time nowMs; call it in the order of time. */
  momentMs(nowMs) {
    const delayMs = BETWEEN * (this.betweenMs ?? 0) + LATENESS * this.latenessMs;
    const wanted = this.lead - Math.min(delayMs, MOST_DELAY_MS);
    if (this.offset === null || Math.abs(wanted - this.offset) > JUMP_MS) {
      this.offset = wanted;
    } else {
      const most = SLEW * Math.max(nowMs - this.askedMs, 0);
      this.offset += clamped(wanted - this.offset, -most, most);
    }
    this.askedMs = nowMs;
    return nowMs + this.offset;
  }
}
