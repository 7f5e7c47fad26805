// The surface map's height turned into slopes: render/relief.py is the same in numpy.

function rint(x) {
  // Halves to even, as numpy rounds.
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** RGBA surface -> RGBA: roughness, occlusion, slope along u, slope along v (128 = flat). */
export function reliefMap({ width, height, rgba }, { steepest }) {
  const out = new Uint8Array(rgba);
  // Of a difference of two codes: one texel apart at the edges, two elsewhere.
  const codes = [1, 2].map((apart) =>
    Uint8Array.from({ length: 511 }, (_, i) => {
      const steep = (i - 255) / 255 / apart / steepest;
      return rint(128 + 127 * Math.max(-1, Math.min(1, steep)));
    }),
  );
  for (let y = 0, i = 0; y < height; y++) {
    const above = y > 0 ? 4 * width : 0, below = y + 1 < height ? 4 * width : 0;
    const down = codes[above && below ? 1 : 0];
    for (let x = 0; x < width; x++, i += 4) {
      const left = x > 0 ? 4 : 0, right = x + 1 < width ? 4 : 0;
      out[i + 2] = codes[left && right ? 1 : 0][rgba[i + 2 + right] - rgba[i + 2 - left] + 255];
      out[i + 3] = down[rgba[i + 2 + below] - rgba[i + 2 - above] + 255];
    }
  }
  return out;
}

/** Metres of height a unit of uv, a unit of (code / 255 - 128 / 255). */
export function slopeScale({ width, height }, { steepest, range_m: range }) {
  const scale = (steepest * range * 255) / 127;
  return [width * scale, height * scale];
}
