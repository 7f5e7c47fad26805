// An unreliable lane beside the socket, where the browser has WebTransport: samples up, codes down.

const MOST_BYTES = 1100;
const MOST_AGE_MS = 100;

export class DatagramLane {
  /** `offer`: {port, certificate: Uint8Array, ticket: hex}; `onBytes(Uint8Array)`. */
  constructor(location, offer, onBytes) {
    this.isOpen = false;
    this.sent = 0;
    this.received = 0;
    if (typeof WebTransport === "undefined" || location.protocol !== "https:") return;
    const url = `https://${location.hostname}:${offer.port}/lane/${offer.ticket}`;
    try {
      this.transport = new WebTransport(url, {
        serverCertificateHashes: [{ algorithm: "sha-256", value: offer.certificate }],
        congestionControl: "low-latency",
      });
    } catch {
      return; // the socket carries everything
    }
    this.#run(onBytes);
  }

  /** Whether it went this way. */
  send(bytes) {
    if (!this.isOpen || bytes.length > MOST_BYTES) return false;
    this.writer.write(bytes).catch(() => this.#lose());
    this.sent += 1;
    return true;
  }

  close() {
    this.#lose();
    try {
      this.transport?.close();
    } catch {
      // It had not opened.
    }
  }

  #lose() {
    this.isOpen = false;
  }

  async #run(onBytes) {
    this.transport.closed.then(() => this.#lose(), () => this.#lose());
    try {
      await this.transport.ready;
      const { datagrams } = this.transport;
      datagrams.outgoingMaxAge = MOST_AGE_MS;
      datagrams.incomingMaxAge = MOST_AGE_MS;
      this.writer = datagrams.writable.getWriter();
      this.isOpen = true;
      const reader = datagrams.readable.getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        this.received += 1;
        onBytes(value);
      }
    } catch {
      // Refused, blocked on the way, or lost: the socket carries everything.
    }
    this.#lose();
  }
}
