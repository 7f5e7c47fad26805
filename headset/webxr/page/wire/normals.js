// Normals of a mesh, smooth over the texture's cuts: area weighted means of the faces at a point,
// and for the vertices that are shaded otherwise (hair, nails) a normal that turns with the surface.
// The slow twin is MeshDescription.normals in headset/webxr/mesh_description.py.

export class Normals {
  constructor(description) {
    this.description = description;
    const { faces, weld } = description;
    this.corners = Uint32Array.from(faces, (v) => 3 * weld[v]);
    this.total = new Float32Array(3 * description.vertexCount);
  }

  /** Float32Array(3 V) metres -> Float32Array(3 V) unit vectors. */
  of(vertices) {
    const { vertexCount: count, weld } = this.description;
    const { corners, total } = this;
    total.fill(0);
    for (let k = 0; k < corners.length; k += 3) {
      const a = corners[k];
      const b = corners[k + 1];
      const c = corners[k + 2];
      const ax = vertices[a];
      const ay = vertices[a + 1];
      const az = vertices[a + 2];
      const ux = vertices[b] - ax;
      const uy = vertices[b + 1] - ay;
      const uz = vertices[b + 2] - az;
      const vx = vertices[c] - ax;
      const vy = vertices[c + 1] - ay;
      const vz = vertices[c + 2] - az;
      const nx = uy * vz - uz * vy;
      const ny = uz * vx - ux * vz;
      const nz = ux * vy - uy * vx;
      total[a] += nx;
      total[a + 1] += ny;
      total[a + 2] += nz;
      total[b] += nx;
      total[b + 1] += ny;
      total[b + 2] += nz;
      total[c] += nx;
      total[c + 1] += ny;
      total[c + 2] += nz;
    }
    const normals = new Float32Array(3 * count);
    for (let v = 0; v < count; v++) {
      const w = 3 * weld[v];
      const x = total[w];
      const y = total[w + 1];
      const z = total[w + 2];
      const inverse = 1 / Math.max(Math.sqrt(x * x + y * y + z * z), 1e-20);
      normals[3 * v] = x * inverse;
      normals[3 * v + 1] = y * inverse;
      normals[3 * v + 2] = z * inverse;
    }
    this.#turn(vertices, normals);
    return normals;
  }

  #turn(vertices, normals) {
    const { turned, turnedBy, turnedNormals } = this.description;
    // A neighbour's normal is not read, only its place: the order does not matter.
    for (let i = 0; i < turned.length; i++) {
      const v = 3 * turned[i];
      const t = 3 * turnedBy[i];
      const zx = normals[v];
      const zy = normals[v + 1];
      const zz = normals[v + 2];
      let xx = vertices[t] - vertices[v];
      let xy = vertices[t + 1] - vertices[v + 1];
      let xz = vertices[t + 2] - vertices[v + 2];
      const along = xx * zx + xy * zy + xz * zz;
      xx -= along * zx;
      xy -= along * zy;
      xz -= along * zz;
      const inverse = 1 / Math.max(Math.sqrt(xx * xx + xy * xy + xz * xz), 1e-20);
      xx *= inverse;
      xy *= inverse;
      xz *= inverse;
      const yx = zy * xz - zz * xy;
      const yy = zz * xx - zx * xz;
      const yz = zx * xy - zy * xx;
      const a = turnedNormals[3 * i];
      const b = turnedNormals[3 * i + 1];
      const c = turnedNormals[3 * i + 2];
      const nx = a * xx + b * yx + c * zx;
      const ny = a * xy + b * yy + c * zy;
      const nz = a * xz + b * yz + c * zz;
      const length = Math.max(Math.sqrt(nx * nx + ny * ny + nz * nz), 1e-20);
      normals[v] = nx / length;
      normals[v + 1] = ny / length;
      normals[v + 2] = nz / length;
    }
  }
}
