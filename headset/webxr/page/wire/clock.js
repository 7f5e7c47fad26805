// The server's clock as seen from the page: the twin of streams.clock.RemoteClock, in milliseconds.

const WINDOW = 64;
const DRIFT = 100e-6;
const JUMP_MS = 1;

/** This machine's clock: milliseconds since 1970, monotonic, the same in page and worker. */
export const nowMs = () => performance.timeOrigin + performance.now();

export class RemoteClock {
  constructor() {
    this.echoes = [];
  }

  get synchronised() {
    return this.echoes.length > 0;
  }

  /** One exchange: our time before and after, the other's time between. */
  add(sentMs, remoteMs, receivedMs) {
    if (receivedMs < sentMs) return;
    const echo = {
      at: (sentMs + receivedMs) / 2,
      offset: remoteMs - (sentMs + receivedMs) / 2,
      half: (receivedMs - sentMs) / 2,
    };
    if (this.synchronised) {
      const { offsetMs, boundMs } = this.estimate(receivedMs);
      if (Math.abs(echo.offset - offsetMs) > boundMs + echo.half + JUMP_MS) this.echoes = [];
    }
    this.echoes.push(echo);
    if (this.echoes.length > WINDOW) this.echoes.shift();
  }

  /** Remote minus our time, wrong by at most boundMs. */
  estimate(atMs) {
    let best = null;
    let least = Infinity;
    for (const echo of this.echoes) {
      const bound = echo.half + Math.abs(atMs - echo.at) * DRIFT;
      if (bound < least) [best, least] = [echo, bound];
    }
    return best ? { offsetMs: best.offset, boundMs: least } : { offsetMs: 0, boundMs: Infinity };
  }

  localFromRemote(remoteMs) {
    const newest = this.echoes.at(-1)?.at ?? 0;
    const guess = remoteMs - this.estimate(newest).offsetMs;
    return remoteMs - this.estimate(guess).offsetMs;
  }
}
