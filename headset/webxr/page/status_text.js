// What the status panels say, in words and numbers.

const WORDS = {
  connecting: "Connecting…",
  open: "Connected",
  lost: "Connection lost – trying again",
  refused: "This device is not paired",
};
const STALE_MS = 1500;

/** One line for people: {tone: "good" | "waiting" | "bad", text}. */
export function statusLine({ link, sinceFrameMs, visibility, trouble }) {
  if (trouble) return { tone: "bad", text: trouble };
  if (link.state === "refused") return { tone: "bad", text: WORDS.refused };
  if (link.state === "lost") return { tone: "bad", text: WORDS.lost };
  if (link.state !== "open") return { tone: "waiting", text: WORDS.connecting };
  if (visibility === "visible-blurred") return { tone: "waiting", text: "Paused by the headset’s menu" };
  if (visibility === "hidden") return { tone: "waiting", text: "Paused" };
  if (sinceFrameMs === null) return { tone: "waiting", text: "Waiting for the avatar…" };
  if (sinceFrameMs > STALE_MS)
    return { tone: "waiting", text: `No new picture for ${Math.round(sinceFrameMs / 1000)} s` };
  return { tone: "good", text: WORDS.open };
}

function number(value, digits, unit) {
  return Number.isFinite(value) ? `${value.toFixed(digits)} ${unit}` : "–";
}

/** Rows of [name, value]: what the link and the page measure. */
export function statusRows({ link, drawnHz, soundOffsetMs }) {
  const rows = [
    ["Drawn", number(drawnHz, 0, "Hz")],
    ["Avatar", number(link.rateHz, 0, "Hz")],
    ["Age", number(link.ageMs, 0, "ms")],
    ["Stream", bits(link.kbitS)],
    ["Lost", Number.isFinite(link.lossShare) ? `${(100 * link.lossShare).toFixed(1)} %` : "–"],
    ["Sent as", link.payload ?? "–"],
    ["Clock", link.clock ? `± ${number(link.clock.boundMs, 1, "ms")}` : "–"],
  ];
  for (const [stage, ms] of Object.entries(link.stageMs ?? {})) rows.push([stage, number(ms, 1, "ms")]);
  if (Number.isFinite(soundOffsetMs)) rows.push(["Sound – lips", number(soundOffsetMs, 0, "ms")]);
  return rows;
}

function bits(kbit) {
  if (!Number.isFinite(kbit)) return "–";
  return kbit >= 1000 ? `${(kbit / 1000).toFixed(1)} Mbit/s` : `${kbit.toFixed(0)} kbit/s`;
}

/** Frames a second over the last second or so. */
export class RateMeter {
  constructor() {
    this.times = [];
  }

  count(now) {
    this.times.push(now);
    while (this.times.length > 2 && now - this.times[0] > 1000) this.times.shift();
  }

  get hertz() {
    const seconds = (this.times.at(-1) - this.times[0]) / 1000;
    return this.times.length > 2 && seconds > 0 ? (this.times.length - 1) / seconds : null;
  }
}
