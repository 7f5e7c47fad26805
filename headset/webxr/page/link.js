// The worker, seen from the page: it keeps the socket and decodes; the page shows.

export class Link {
  /** `handlers`: message type -> function; `report(text)`: told when the worker fails. */
  constructor(handlers, report) {
    this.handlers = handlers;
    this.state = { state: "connecting" };
    this.worker = new Worker("./worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.#receive(data, report);
    this.worker.onerror = (event) => report(`the page's worker failed: ${event.message ?? "no reason"}`);
  }

  #receive(message, report) {
    try {
      if (message.type === "link") this.state = message;
      this.handlers[message.type]?.(message);
    } catch (error) {
      console.error(error);
      report(`a message "${message.type}" was not understood: ${error.message}`);
    }
  }

  post(message, transfer = []) {
    this.worker.postMessage(message, transfer);
  }
}
