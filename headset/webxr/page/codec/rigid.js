// Rotations, rigid transforms and three-vectors, as streams/rigid.py: quaternions wxyz, metres,
// `aFromB` maps points of b to a. Matrices are nine numbers, row by row.


export function matrixOf([w, x, y, z]) {
  return [
    1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
  ]; // prettier-ignore
}

export function multiplied(a, b) {
  const product = [];
  for (let i = 0; i < 9; i += 3) {
    for (let j = 0; j < 3; j++) {
      product.push(a[i] * b[j] + a[i + 1] * b[j + 3] + a[i + 2] * b[j + 6]);
    }
  }
  return product;
}

export function transposed(m) {
  return [m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]];
}

export function turned(m, [x, y, z]) {
  return [
    m[0] * x + m[1] * y + m[2] * z,
    m[3] * x + m[4] * y + m[5] * z,
    m[6] * x + m[7] * y + m[8] * z,
  ];
}

export function turnedBack(m, [x, y, z]) {
  return [
    m[0] * x + m[3] * y + m[6] * z,
    m[1] * x + m[4] * y + m[7] * z,
    m[2] * x + m[5] * y + m[8] * z,
  ];
}

// Columns x, y, z.
export function matrixOfAxes(x, y, z) {
  return [x[0], y[0], z[0], x[1], y[1], z[1], x[2], y[2], z[2]];
}

export function multipliedQuaternions([aw, ax, ay, az], [bw, bx, by, bz]) {
  return unit([
    aw * bw - ax * bx - ay * by - az * bz,
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
  ]);
}

// Axis times radians, 0 to pi.
export function rotationVector([w, x, y, z]) {
  const sign = w < 0 ? -1 : 1;
  const sine = Math.hypot(x, y, z);
  const scale = sign * (sine < 1e-9 ? 2 : (2 * Math.atan2(sine, sign * w)) / sine);
  return [x * scale, y * scale, z * scale];
}

export function quaternionOf(vector) {
  const angle = length(vector);
  const scale = angle < 1e-9 ? 0.5 : Math.sin(angle / 2) / angle;
  return unit([Math.cos(angle / 2), ...scaled(vector, scale)]);
}

export function added(a, b) {
  return [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
}

export function minus(a, b) {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
}

export function scaled(a, factor) {
  return [a[0] * factor, a[1] * factor, a[2] * factor];
}

export function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

export function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

export function length(a) {
  return Math.sqrt(dot(a, a));
}

// Of any size, at length 1; zeros stay zeros.
export function unit(a) {
  let square = 0;
  for (const n of a) square += n * n;
  const size = Math.max(Math.sqrt(square), 1e-12);
  return a.map((n) => n / size);
}

export function clamped(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// Row `k` of an array of three-vectors.
export function at(rows, k) {
  return [rows[3 * k], rows[3 * k + 1], rows[3 * k + 2]];
}
