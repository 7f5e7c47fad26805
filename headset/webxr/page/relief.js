// The surface map's height turned into slopes: render/relief.py is the same in numpy.

function rint(x) {
  // Halves to even, as numpy rounds.
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** RGBA surface -> RGBA: roughness, occlusion, slope along u, slope along v (128 = flat). */
export function reliefMap({ width, height, rgba }, { steepest }) {
  const out = new Uint8Array(rgba);
  const at = (x, y) => rgba[4 * (y * width + x) + 2] / 255;
  const slope = (low, high, apart) => {
    const steep = Math.max(-1, Math.min(1, (high - low) / apart / steepest));
    return rint(128 + 127 * steep);
  };
  for (let y = 0; y < height; y++) {
    const above = Math.max(0, y - 1), below = Math.min(height - 1, y + 1);
    for (let x = 0; x < width; x++) {
      const left = Math.max(0, x - 1), right = Math.min(width - 1, x + 1);
      const i = 4 * (y * width + x);
      out[i + 2] = width < 2 ? 128 : slope(at(left, y), at(right, y), right - left);
      out[i + 3] = height < 2 ? 128 : slope(at(x, above), at(x, below), below - above);
    }
  }
  return out;
}

/** Metres of height a unit of uv, a unit of (code / 255 - 128 / 255). */
export function slopeScale({ width, height }, { steepest, range_m: range }) {
  const scale = (steepest * range * 255) / 127;
  return [width * scale, height * scale];
}
