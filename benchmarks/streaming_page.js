// The pages of benchmarks/streaming.py: when is which frame decoded? Every texture has its number
// painted into its first rows; all times are milliseconds since 1970.

const epochMs = () => performance.timeOrigin + performance.now();
const decoded = (globalThis.decoded = []);
const BITS = 16;

/** The number in a plane of brightness (stride bytes a row): BITS squares, black or white. */
function numberOf(luma, stride, width) {
  const side = width / BITS;
  const row = Math.floor(side / 2) * stride;
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) {
    if (luma[row + Math.floor((bit + 0.5) * side)] > 127) number |= 1 << bit;
  }
  return number;
}

const ways = {
  /** Our own worker. */
  visavis() {
    const worker = new Worker("/worker.js", { type: "module" });
    globalThis.worker = worker;
    globalThis.links = [];
    worker.onmessage = ({ data }) => {
      if (data.type === "link") globalThis.links.push(data);
      if (data.type !== "avatar") return;
      const at = epochMs();
      const { person, frameId, tMs, texture } = data;
      let number = null;
      if (texture?.kind === "planes") number = numberOf(texture.y, texture.strides[0], texture.width);
      texture?.frame?.close();
      decoded.push({ number, at, tMs });
      worker.postMessage({ type: "displayed", person, frameId, tMs: epochMs() });
    };
  },
  /** A JPEG a message, decoded as <img> would. */
  jpeg() {
    const socket = new WebSocket(`ws://${location.host}/jpeg`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = async ({ data }) => {
      const number = new DataView(data).getUint32(0, true);
      const picture = await createImageBitmap(new Blob([new Uint8Array(data, 4)]));
      decoded.push({ number, at: epochMs() });
      picture.close();
    };
  },
  /** A video track of WebRTC. */
  async aiortc() {
    const peer = new RTCPeerConnection();
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.ontrack = async ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
      let bytes = new Uint8Array(0);
      for (;;) {
        const { value: frame, done } = await reader.read();
        if (done) break;
        const at = epochMs();
        const size = frame.allocationSize();
        if (bytes.length < size) bytes = new Uint8Array(size);
        const [luma] = await frame.copyTo(bytes);
        const width = frame.visibleRect.width;
        decoded.push({ number: numberOf(bytes.subarray(luma.offset), luma.stride, width), at });
        frame.close();
      }
    };
    await peer.setLocalDescription(await peer.createOffer());
    const answer = await fetch("/offer", {
      method: "POST",
      body: JSON.stringify({ sdp: peer.localDescription.sdp, type: peer.localDescription.type }),
    });
    await peer.setRemoteDescription(await answer.json());
    globalThis.peer = peer;
  },
};

ways[document.title]();
