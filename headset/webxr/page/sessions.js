// Going into VR or AR and coming back, as often as one likes.

const MODES = { vr: "immersive-vr", ar: "immersive-ar" };
const OPTIONAL = ["hand-tracking", "layers"];
const FASTEST_HZ = 90; // more costs battery and shows no more of a face
const FOVEATION = 0.3;
const PATIENCE_MS = 1000;

/** Which sessions this browser offers: {vr, ar}. */
export async function offered() {
  const supported = async (mode) => {
    try {
      return Boolean(await navigator.xr?.isSessionSupported(mode));
    } catch {
      return false; // a policy forbids it: the same as a browser without it
    }
  };
  return { vr: await supported(MODES.vr), ar: await supported(MODES.ar) };
}

/** The rate to ask for: the highest one up to FASTEST_HZ, or the lowest there is. */
export function chosenRate(rates) {
  const sorted = [...(rates ?? [])].sort((a, b) => a - b);
  return sorted.filter((rate) => rate <= FASTEST_HZ).at(-1) ?? sorted[0] ?? null;
}

export class Sessions extends EventTarget {
  constructor(renderer) {
    super();
    this.renderer = renderer;
    this.session = null;
    this.mode = null;
    this.rate = null;
    this.entering = false;
  }

  /** "visible", "visible-blurred", "hidden", or null outside of a session. */
  get visibility() {
    return this.session?.visibilityState ?? null;
  }

  get passthrough() {
    const blend = this.session?.environmentBlendMode;
    return Boolean(blend) && blend !== "opaque";
  }

  /** Start a session; must be called from a click. `kind`: "vr" or "ar". */
  async enter(kind) {
    if (this.session || this.entering) return;
    this.entering = true;
    try {
      const session = await navigator.xr.requestSession(MODES[kind], {
        requiredFeatures: ["local-floor"],
        optionalFeatures: OPTIONAL,
      });
      let over = false;
      session.addEventListener("end", () => {
        over = true;
        this.#ended(session);
      });
      session.addEventListener("visibilitychange", () => this.#tell("visibility"));
      // Before the first frame: a rate that changes under way makes frames queue up.
      this.rate = await settledRate(session);
      this.renderer.xr.setReferenceSpaceType("local-floor");
      try {
        await this.renderer.xr.setSession(session);
      } catch (error) {
        await session.end().catch(() => {}); // or the headset would show nothing, for ever
        throw error;
      }
      // three.js asks for all of it, which blurs a face that is not in the middle.
      this.renderer.xr.setFoveation(FOVEATION);
      if (over) return; // taken off before it began
      this.session = session;
      this.mode = kind;
      this.#tell("start");
    } finally {
      this.entering = false;
    }
  }

  async leave() {
    await this.session?.end();
  }

  #ended(session) {
    if (this.session !== session) return;
    this.session = null;
    this.mode = null;
    this.#tell("end");
  }

  #tell(what) {
    this.dispatchEvent(new Event(what));
  }
}

async function settledRate(session) {
  const rate = chosenRate(session.supportedFrameRates);
  if (rate !== null && session.updateTargetFrameRate) {
    const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
    try {
      await Promise.race([session.updateTargetFrameRate(rate), late]);
    } catch {
      // The headset keeps its own rate.
    }
  }
  return session.frameRate ?? null;
}
