// Sums of rows: what nearly all of an avatar's arithmetic is.

// sum (n,) += sum over k of weights[k] * rows[k * n ...]. Four rows at a time, so that the sum is
// read and written a quarter as often.
export function addRows(sum, weights, rows) {
  const n = sum.length;
  const used = [];
  for (let k = 0; k < weights.length; k++) if (weights[k] !== 0) used.push(k);
  let i = 0;
  for (; i + 4 <= used.length; i += 4) {
    const [a, b, c, d] = [used[i], used[i + 1], used[i + 2], used[i + 3]];
    const [wa, wb, wc, wd] = [weights[a], weights[b], weights[c], weights[d]];
    const [ra, rb, rc, rd] = [a * n, b * n, c * n, d * n];
    for (let j = 0; j < n; j++) {
      sum[j] += wa * rows[ra + j] + wb * rows[rb + j] + wc * rows[rc + j] + wd * rows[rd + j];
    }
  }
  for (; i < used.length; i++) {
    const w = weights[used[i]];
    const r = used[i] * n;
    for (let j = 0; j < n; j++) sum[j] += w * rows[r + j];
  }
}

// (K, n) rows that a file holds as half floats brought to 1, with their sizes beside.
export function sizedRows(file, name, shape) {
  const rows = file.array(name, "F16", shape);
  const size = file.array(`${name}.size`, "F32", [file.shape(name)[0]]);
  const n = size.length ? rows.length / size.length : 0;
  for (let k = 0; k < size.length; k++) {
    for (let j = k * n; j < (k + 1) * n; j++) rows[j] *= size[k];
  }
  return rows;
}
