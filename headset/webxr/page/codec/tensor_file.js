// Arrays by name from a safetensors file (https://huggingface.co/docs/safetensors), optionally in
// gzip. The file may come from another person: everything is checked before it is used.

const TYPES = {
  U8: Uint8Array, I8: Int8Array, U16: Uint16Array, F16: Uint16Array, I32: Int32Array,
  F32: Float32Array, F64: Float64Array,
}; // prettier-ignore
const LARGEST_HEADER = 1 << 20;
export const LARGEST_FILE = 128 << 20;

export class DecoderFileError extends Error {}

export class TensorFile {
  // Uint8Array; throws DecoderFileError.
  constructor(bytes) {
    if (bytes.length < 8) throw new DecoderFileError("decoder file: expected a header, got none");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = view.getUint32(0, true);
    if (view.getUint32(4, true) !== 0 || size > LARGEST_HEADER || 8 + size > bytes.length) {
      throw new DecoderFileError("decoder file: expected a safetensors header");
    }
    try {
      this.header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
      this.about = JSON.parse(this.header.__metadata__.about);
    } catch (error) {
      throw new DecoderFileError(`decoder file: expected a header in JSON, got ${error.message}`);
    }
    if (this.about === null || typeof this.about !== "object") {
      throw new DecoderFileError("decoder file: about: expected an object");
    }
    this.data = bytes.subarray(8 + size);
    this.array = this.array.bind(this);
  }

  // Of bytes, in gzip or not.
  static async open(bytes) {
    return new TensorFile(bytes[0] === 0x1f && bytes[1] === 0x8b ? await inflated(bytes) : bytes);
  }

  has(name) {
    return Object.hasOwn(this.header, name);
  }

  // The array of this name and shape (null: any length), copied. "F16" comes as float32.
  array(name, type, shape) {
    const entry = this.has(name) ? this.header[name] : null;
    const got = entry && Array.isArray(entry.shape) ? entry.shape : [];
    const fits =
      entry?.dtype === type &&
      got.length === shape.length &&
      got.every((n, k) => Number.isSafeInteger(n) && n >= 0 && (shape[k] ?? n) === n);
    if (!fits) {
      const wanted = `${type} (${shape.map((n) => n ?? "*").join(", ")})`;
      const found = entry ? `${entry.dtype} (${got.join(", ")})` : "nothing";
      throw new DecoderFileError(`decoder file: ${name}: expected ${wanted}, got ${found}`);
    }
    const Type = TYPES[type];
    const count = got.reduce((a, b) => a * b, 1);
    const [begin, end] = Array.isArray(entry.data_offsets) ? entry.data_offsets : [];
    const length = count * Type.BYTES_PER_ELEMENT;
    if (!(begin >= 0 && end - begin === length && end <= this.data.length)) {
      throw new DecoderFileError(`decoder file: ${name}: expected ${length} bytes in the file`);
    }
    const copy = this.data.slice(begin, end);
    const values = new Type(copy.buffer, 0, count);
    return type === "F16" ? singles(values) : requireFinite(name, values);
  }

  shape(name) {
    return this.header[name].shape;
  }

  // int32 indices that must lie from 0 to `limit` - 1.
  indices(name, shape, limit) {
    const values = this.array(name, "I32", shape);
    for (const index of values) {
      if (index < 0 || index >= limit) {
        throw new DecoderFileError(`decoder file: ${name}: expected indices below ${limit}`);
      }
    }
    return values;
  }
}

function requireFinite(name, values) {
  if (values instanceof Float32Array || values instanceof Float64Array) {
    for (let k = 0; k < values.length; k++) {
      if (!Number.isFinite(values[k])) {
        throw new DecoderFileError(`decoder file: ${name}: expected finite numbers`);
      }
    }
  }
  return values;
}

// IEEE 754 half floats, of which there are 65536.
function singles(halves) {
  const table = singles.table ?? (singles.table = Float32Array.from({ length: 65536 }, (_, h) => {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    if (exponent === 31) return NaN;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
  })); // prettier-ignore
  const values = new Float32Array(halves.length);
  for (let k = 0; k < halves.length; k++) values[k] = table[halves[k]];
  return requireFinite("float16", values);
}

async function inflated(bytes) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const parts = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      if (size > LARGEST_FILE) {
        await reader.cancel();
        throw new DecoderFileError(`decoder file: expected at most ${LARGEST_FILE >> 20} MiB`);
      }
      parts.push(value);
    }
  } catch (error) {
    if (error instanceof DecoderFileError) throw error;
    throw new DecoderFileError(`decoder file: expected gzip, got ${error.message}`);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
