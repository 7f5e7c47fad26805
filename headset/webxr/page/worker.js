// The page's worker: keeps the socket, the clock and the decoders, so that drawing never waits.
//
// To the page: topology, avatar, personGone, panel, panelGone, video, sound, words, link. From it:
// sample, displayed, videoDisplayed, panelMoved, panelChosen, panelDismissed, pinched, prompt, speech,
// wish, stop, and voice: a port to the audio thread, where a person's sound then goes. Times (tMs) are milliseconds since 1970 by this machine's monotonic clock
// (performance.timeOrigin + performance.now()), in page and worker alike.

import { Blobs } from "./wire/blobs.js";
import * as client from "./wire/client_messages.js";
import { nowMs, RemoteClock } from "./wire/clock.js";
import { DatagramLane } from "./wire/datagram_lane.js";
import { findPart, Kind, milliseconds, nanoseconds, parseMessage, Part, WireError } from "./wire/messages.js";
import { PersonStream } from "./wire/person_stream.js";
import * as prompts from "./wire/prompt_messages.js";
import { packSample, parseView } from "./wire/sample.js";
import { ServerSocket } from "./wire/server_socket.js";
import { VideoTexture } from "./wire/texture_video.js";
import { Voice } from "./wire/voice.js";

const ASK_MS = 1000;
const FIRST_ASKS = 5;
const REPORT_MS = 500;
const MOST_WAITING_BYTES = 4096; // of samples that the system has not sent: then one is left out
const TEXTURE_SIZE = 1024;
const VIDEO_MS = 1000; // after so long without one, pictures are not what is shown
const LEAD_MS = 1000; // a code may seem to come from the future, as far as the clocks are unsure

const { Can } = client;

class PageWorker {
  constructor(scope) {
    this.scope = scope;
    const { protocol, host } = scope.location;
    const base = `${protocol}//${host}`;
    this.blobs = new Blobs(`${base}/blob/`);
    this.clock = new RemoteClock();
    this.voices = new Map(); // person -> Voice, where the page gave a port for it
    this.people = new Map();
    this.traffic = { bytes: 0, displayed: 0, ages: [], sinceMs: nowMs() };
    this.allowed = { controls: false, prompts: false, speech: false };
    this.wish = null;
    this.words = ""; // of the prompt
    this.wordsTold = false; // to the server that is reached now
    this.videoViews = new Map();
    this.videoShownMs = -Infinity;
    this.videoTold = null; // {frameId, tNs} of the newest picture that the page has
    this.video = new VideoTexture(
      (frameId, frame) => this.#showVideo(frameId, frame),
      () => this.#askKey(0, this.videoId),
    );
    this.socket = new ServerSocket(`${base.replace(/^http/, "ws")}/link`, {
      onOpen: () => this.#begin(),
      onBytes: (bytes) => this.#take(bytes),
      onState: () => this.#report(),
    });
    this.timers = [setInterval(() => this.#report(), REPORT_MS), setInterval(() => this.#ask(), ASK_MS)];
    scope.onmessage = ({ data }) => this.#hear(data);
  }

  // What the page says.

  #hear(message) {
    try {
      this.#act(message);
    } catch (error) {
      this.#tell(`"${message.type}" of the page: ${error.message}`);
    }
  }

  #act(message) {
    if (message.type === "sample") {
      // A sample that waits is worth less than the one after it.
      const bytes = packSample(message);
      if (this.lane?.send(bytes)) return;
      if (this.socket.waiting < MOST_WAITING_BYTES) this.socket.send(bytes);
    } else if (message.type === "displayed") {
      const { person, frameId, tMs } = message;
      const stream = this.people.get(person);
      if (!stream) return;
      stream.seenFrom = message.eye ?? null;
      const decodeMs = stream.displayed(frameId);
      this.socket.send(client.displayed(person, frameId, tMs, decodeMs));
      this.traffic.displayed += 1;
      const shownMs = stream.times?.get(frameId);
      if (shownMs !== undefined) this.traffic.ages.push(tMs - shownMs);
    } else if (message.type === "videoDisplayed") {
      this.#videoDisplayed(message);
    } else if (message.type === "panelMoved") {
      this.socket.send(client.panelMoved(message));
    } else if (message.type === "panelChosen") {
      this.socket.send(prompts.panelChosen(message.id));
    } else if (message.type === "panelDismissed") {
      this.socket.send(prompts.panelDismissed(message.id));
    } else if (message.type === "pinched") {
      this.socket.send(prompts.pinched(message.worldFromPinch));
    } else if (message.type === "prompt") {
      this.words = message.words; // told again to every server that is reached
      this.socket.send(prompts.prompt(message.words, message.act));
    } else if (message.type === "speech") {
      this.socket.send(prompts.speech(message.samples, message.last));
    } else if (message.type === "voice") {
      this.voices.get(message.person)?.close();
      this.voices.set(message.person, new Voice(message.port));
    } else if (message.type === "wish") {
      this.wish = message; // told again to every server that is reached
      this.socket.send(client.wish(message.payload, message.mostBitsS));
    } else if (message.type === "stop") {
      this.timers.forEach(clearInterval);
      this.socket.stop();
      this.#forgetAll();
      this.scope.close();
    }
  }

  // What the server says.

  #begin() {
    this.clock = new RemoteClock();
    this.#forgetAll();
    const { navigator, VideoDecoder } = this.scope;
    let can = Can.GEOMETRY | Can.NODES | Can.CODE | Can.OPUS;
    if (VideoDecoder) can |= Can.H264 | Can.VIDEO;
    this.socket.send(client.hello(can, TEXTURE_SIZE, navigator?.userAgent ?? "page"));
    if (this.wish) this.socket.send(client.wish(this.wish.payload, this.wish.mostBitsS));
    for (let k = 0; k < FIRST_ASKS; k++) setTimeout(() => this.#ask(), 50 * k);
  }

  #forgetAll() {
    this.wordsTold = false;
    for (const stream of this.people.values()) stream.close();
    this.people.clear();
    this.lane?.close();
    this.lane = null;
    this.video.close();
    this.videoViews.clear();
  }

  #take(bytes) {
    this.traffic.bytes += bytes.length;
    try {
      this.#read(parseMessage(bytes), nowMs());
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#tell(error.message);
    }
  }

  #read(message, atMs) {
    const { kind, person } = message;
    if (kind === Kind.AVATAR) {
      message.tNs ??= this.#timeOfCode(findPart(message, Part.CODE).data, atMs);
      this.#stream(person).receive(message, atMs);
    } else if (kind === Kind.ECHO) {
      this.#echo(client.readEcho(message), atMs);
    } else if (kind === Kind.SCENE) {
      this.#describe(person, client.readScene(message));
    } else if (kind === Kind.WELCOME) {
      // While the link is lost all stays allowed: a field that goes away takes the keyboard along.
      this.allowed = client.readWelcome(message);
      if (this.allowed.prompts && !this.wordsTold && this.words)
        this.socket.send(prompts.prompt(this.words));
      this.wordsTold = true;
      this.#report();
    } else if (kind === Kind.PROMPT) {
      this.words = prompts.readPrompt(message);
      this.#post({ type: "words", words: this.words });
    } else if (kind === Kind.PANEL) {
      this.#panel(client.readPanel(message));
    } else if (kind === Kind.PANEL_GONE) {
      this.#post({ type: "panelGone", id: new TextDecoder().decode(findPart(message, Part.TEXT)?.data) });
    } else if (kind === Kind.AUDIO) {
      const packet = findPart(message, Part.OPUS)?.data.slice();
      if (packet) this.#hearVoice(person, this.#local(milliseconds(message.tNs)), packet);
    } else if (kind === Kind.VIDEO) {
      this.#readVideo(message);
    } else if (kind === Kind.LANE) {
      this.lane?.close();
      this.lane = new DatagramLane(this.scope.location, client.readLane(message), (bytes) => this.#take(bytes));
    }
  }

  #hearVoice(person, tMs, packet) {
    const voice = this.voices.get(person);
    if (voice) voice.hear(tMs, packet);
    else this.#post({ type: "sound", person, tMs, opus: packet });
  }

  #stream(person) {
    let stream = this.people.get(person);
    if (!stream) {
      stream = new PersonStream(person, {
        blobs: this.blobs,
        post: (message, transfer) => this.#postAvatar(stream, message, transfer),
        askKey: (who, received) => this.#askKey(who, received),
        local: (tMs) => this.#local(tMs),
        tell: (text) => this.#tell(text),
      });
      stream.times = new Map();
      this.people.set(person, stream);
    }
    return stream;
  }

  #describe(person, scene) {
    if (scene.number === 0 && !scene.decoder) {
      this.people.get(person)?.close();
      this.people.delete(person);
      this.voices.get(person)?.close();
      this.voices.delete(person);
      this.#post({ type: "personGone", person });
    } else {
      this.#stream(person).describe(scene);
    }
  }

  #postAvatar(stream, message, transfer) {
    if (message.type === "avatar") {
      stream.times.set(message.frameId, message.tMs);
      if (stream.times.size > 8) stream.times.delete(stream.times.keys().next().value);
    }
    this.#post(message, transfer);
  }

  async #panel({ picture, ...panel }) {
    const message = { type: "panel", ...panel };
    if (picture) {
      try {
        message.image = await createImageBitmap(new Blob([picture.slice()]), {
          premultiplyAlpha: "none", colorSpaceConversion: "none",
        });
      } catch (error) {
        return this.#tell(`panel ${panel.id}: ${error.message}`);
      }
    }
    this.#post(message, message.image ? [message.image] : []);
  }

  #readVideo(message) {
    const unit = findPart(message, Part.H264);
    if (!unit) throw new WireError("video: expected a picture");
    const views = message.sections.filter(({ kind }) => kind === Part.VIEW).map(({ data }) => parseView(data));
    this.videoId = message.frameId;
    this.videoViews.set(message.frameId, { views, tNs: message.tNs });
    try {
      this.video.decode(unit.data, (unit.flags & 1) === 1, message.frameId);
    } catch (error) {
      this.#askKey(0, message.frameId);
      throw error instanceof WireError ? error : new WireError(error.message);
    }
  }

  #showVideo(frameId, frame) {
    const { views, tNs } = this.videoViews.get(frameId) ?? { views: [], tNs: 0n };
    for (const known of this.videoViews.keys()) if (known <= frameId) this.videoViews.delete(known);
    this.videoTold = { frameId, tNs };
    this.#post({ type: "video", frameId, frame, views }, [frame]);
  }

  #videoDisplayed({ frameId, tMs }) {
    this.socket.send(client.displayed(0, frameId, tMs, 0));
    this.videoShownMs = tMs;
    this.traffic.displayed += 1;
    const told = this.videoTold;
    if (told?.frameId === frameId) this.traffic.ages.push(tMs - this.#local(milliseconds(told.tNs)));
  }

  // Clock, and what is told.

  #ask() {
    this.socket.send(client.question(nowMs()));
  }

  #echo({ asked, answered }, atMs) {
    if (answered === null) this.socket.send(client.echo(asked, nanoseconds(atMs)));
    else this.clock.add(milliseconds(asked), milliseconds(answered), atMs);
  }

  #local(remoteMs) {
    return this.clock.synchronised ? this.clock.localFromRemote(remoteMs) : nowMs();
  }

  /** A packet tells its time in milliseconds modulo 65,536: it is the last such moment. */
  #timeOfCode(packet, atMs) {
    const nowOfServer = Math.floor(atMs + this.clock.estimate(atMs).offsetMs) + LEAD_MS;
    const behind = (nowOfServer - (packet[1] * 256 + packet[2])) & 0xffff;
    return nanoseconds(nowOfServer - behind);
  }

  #askKey(person, received) {
    this.socket.send(client.needKey(person, received ?? 0));
  }

  #post(message, transfer = []) {
    this.scope.postMessage(message, transfer);
  }

  #tell(text) {
    console.warn(text);
  }

  #report() {
    if (!this.socket) return; // its first state comes while it is made
    const { traffic } = this;
    const now = nowMs();
    const seconds = Math.max((now - traffic.sinceMs) / 1000, 1e-3);
    const ages = traffic.ages.sort((a, b) => a - b);
    const host = this.people.get(0);
    const { offsetMs, boundMs } = this.clock.estimate(now);
    const told = {
      rateHz: traffic.displayed / seconds,
      ageMs: ages.length ? ages[ages.length >> 1] : 0,
      kbitS: (8 * traffic.bytes) / 1000 / seconds,
      lossShare: host?.lossShare ?? 0,
    };
    this.traffic = { bytes: 0, displayed: 0, ages: [], sinceMs: now };
    const payload = now - this.videoShownMs < VIDEO_MS ? "video" : (host?.payload ?? null);
    this.#post({
      type: "link", state: this.socket.state, ...told, ...this.allowed,
      clock: { offsetMs, boundMs }, payload,
      lane: this.lane?.isOpen ?? false, stageMs: { ...host?.stages },
    });
    this.socket.send(client.statistics(told.rateHz, told.ageMs, told.kbitS, told.lossShare));
  }
}

new PageWorker(self);
