// From the face's moving vertices to the whole head in the world: avatar/head_placement.py, with
// avatar/posture.py and avatar/smooth_normals.py.

import { ballRotation } from "./gaze.js";
import { at, clamped, length, matrixOf, multipliedQuaternions, rotationVector } from "./rigid.js";
import { DecoderFileError } from "./tensor_file.js";

const TORSO_SHARE = [0.35, 0.1, 0.15]; // of the head's yaw, pitch and roll that the torso follows
const NECK_LIMIT = [70, 45, 40].map((degrees) => (degrees * Math.PI) / 180);

export class HeadPlacement {
  constructor(file) {
    this.rest = file.array("head.rest", "F32", [null, 3]);
    this.count = this.rest.length / 3;
    const { count } = this;
    this.restNormals = file.array("head.rest_normals", "F32", [count, 3]);
    this.moving = file.indices("head.moving", [null], count);
    this.faceRest = new Float32Array(3 * this.moving.length); // `rest` of those that move
    this.moving.forEach((v, k) => this.faceRest.set(this.rest.subarray(3 * v, 3 * v + 3), 3 * k));
    this.balls = file.indices("head.balls", [2, 2], count + 1);
    this.eyes = file.array("head.eyes", "F32", [2, 3]);
    this.bending = file.indices("head.bending", [null], count);
    this.corners = file.indices("head.corners", [null, 3], count);
    this.faces = this.corners.length / 3;
    this.facesOfPoint = file.indices("head.faces_of_point", [null, null], this.faces + 1);
    [this.points, this.most] = file.shape("head.faces_of_point");
    this.pointOfVertex = file.indices("head.point_of_vertex", [this.bending.length], this.points);
    this.neck = file.indices("head.neck", [null], count);
    this.torsoShare = file.array("head.torso_share", "F32", [this.neck.length]);
    this.pivot = file.array("head.neck_pivot", "F32", [3]);
    if (this.most > 64) throw new DecoderFileError("decoder file: head: expected fewer faces a point");
    this.faceNormals = new Float32Array(3 * (this.faces + 1)); // the last one is of no area
    this.pointNormals = new Float32Array(3 * this.points);
  }

  // Write vertices, metres, and unit normals, both in the world. `face` (3M,): the moving vertices
  // in the head frame.
  place(face, gaze, worldFromHead, vertices, normals) {
    vertices.set(this.rest);
    normals.set(this.restNormals);
    const { moving } = this;
    for (let k = 0; k < moving.length; k++) {
      const to = 3 * moving[k];
      vertices[to] = face[3 * k];
      vertices[to + 1] = face[3 * k + 1];
      vertices[to + 2] = face[3 * k + 2];
    }
    for (let eye = 0; eye < 2; eye++) this.turnBall(gaze, eye, vertices, normals);
    this.turnOnNeck(worldFromHead, vertices, normals);
    this.smooth(vertices, normals);
    this.toWorld(worldFromHead, vertices, normals);
  }

  turnBall(gaze, eye, vertices, normals) {
    const turn = ballRotation(gaze, eye);
    const centre = at(this.eyes, eye);
    const end = 3 * this.balls[2 * eye + 1];
    for (let v = 3 * this.balls[2 * eye]; v < end; v += 3) {
      rotate(turn, vertices, v, centre, centre);
      rotate(turn, normals, v, ORIGIN, ORIGIN);
    }
  }

  // Each vertex of the neck about the pivot by its share of the torso's turn (Rodrigues' formula:
  // all about one axis).
  turnOnNeck(worldFromHead, vertices, normals) {
    const turn = headFromTorso(worldFromHead);
    const angle = length(turn);
    if (angle < 1e-9) return;
    const [x, y, z] = turn.map((n) => n / angle);
    const { neck, torsoShare, pivot } = this;
    const matrix = new Float64Array(9);
    let last = NaN;
    for (let k = 0; k < neck.length; k++) {
      if (torsoShare[k] !== last) {
        last = torsoShare[k];
        const [s, c] = [Math.sin(last * angle), Math.cos(last * angle)];
        const d = 1 - c;
        matrix[0] = c + d * x * x;
        matrix[1] = d * x * y - s * z;
        matrix[2] = d * x * z + s * y;
        matrix[3] = d * x * y + s * z;
        matrix[4] = c + d * y * y;
        matrix[5] = d * y * z - s * x;
        matrix[6] = d * x * z - s * y;
        matrix[7] = d * y * z + s * x;
        matrix[8] = c + d * z * z;
      }
      rotate(matrix, vertices, 3 * neck[k], pivot, pivot);
      rotate(matrix, normals, 3 * neck[k], ORIGIN, ORIGIN);
    }
  }

  // Normals anew where the surface bends: area weighted, continuous over the cuts of the texture.
  smooth(vertices, normals) {
    const { corners, faceNormals, facesOfPoint, most, pointNormals } = this;
    for (let f = 0; f < corners.length; f += 3) {
      const a = 3 * corners[f];
      const b = 3 * corners[f + 1];
      const c = 3 * corners[f + 2];
      const [ax, ay, az] = [vertices[a], vertices[a + 1], vertices[a + 2]];
      const [ux, uy, uz] = [vertices[b] - ax, vertices[b + 1] - ay, vertices[b + 2] - az];
      const [vx, vy, vz] = [vertices[c] - ax, vertices[c + 1] - ay, vertices[c + 2] - az];
      faceNormals[f] = uy * vz - uz * vy;
      faceNormals[f + 1] = uz * vx - ux * vz;
      faceNormals[f + 2] = ux * vy - uy * vx;
    }
    for (let p = 0; p < this.points; p++) {
      let [x, y, z] = [0, 0, 0];
      for (let k = p * most; k < (p + 1) * most; k++) {
        const f = 3 * facesOfPoint[k];
        x += faceNormals[f];
        y += faceNormals[f + 1];
        z += faceNormals[f + 2];
      }
      const size = 1 / Math.max(Math.sqrt(x * x + y * y + z * z), 1e-20);
      pointNormals[3 * p] = x * size;
      pointNormals[3 * p + 1] = y * size;
      pointNormals[3 * p + 2] = z * size;
    }
    const { bending, pointOfVertex } = this;
    for (let k = 0; k < bending.length; k++) {
      const from = 3 * pointOfVertex[k];
      const to = 3 * bending[k];
      normals[to] = pointNormals[from];
      normals[to + 1] = pointNormals[from + 1];
      normals[to + 2] = pointNormals[from + 2];
    }
  }

  toWorld(worldFromHead, vertices, normals) {
    const rotation = matrixOf(worldFromHead.wxyz);
    for (let v = 0; v < 3 * this.count; v += 3) {
      rotate(rotation, vertices, v, ORIGIN, worldFromHead.xyz);
      rotate(rotation, normals, v, ORIGIN, ORIGIN);
    }
  }
}

const ORIGIN = [0, 0, 0];

// In place: the three numbers from `at` on, turned about `centre`, which goes `to`.
function rotate(m, rows, at, centre, to) {
  const x = rows[at] - centre[0];
  const y = rows[at + 1] - centre[1];
  const z = rows[at + 2] - centre[2];
  rows[at] = m[0] * x + m[1] * y + m[2] * z + to[0];
  rows[at + 1] = m[3] * x + m[4] * y + m[5] * z + to[1];
  rows[at + 2] = m[6] * x + m[7] * y + m[8] * z + to[2];
}

// The torso's turn against the head, a rotation vector in the head frame.
function headFromTorso(worldFromHead) {
  const head = yawPitchRoll(matrixOf(worldFromHead.wxyz));
  const [yaw, pitch, roll] = head.map((angle, k) => {
    return angle - clamped(angle * (1 - TORSO_SHARE[k]), -NECK_LIMIT[k], NECK_LIMIT[k]);
  });
  const about = (axis, angle) => {
    const wxyz = [Math.cos(angle / 2), 0, 0, 0];
    wxyz[1 + axis] = Math.sin(angle / 2);
    return wxyz;
  };
  const turn = multipliedQuaternions(about(1, yaw), about(0, pitch));
  const torso = multipliedQuaternions(turn, about(2, roll));
  const [w, x, y, z] = worldFromHead.wxyz;
  return rotationVector(multipliedQuaternions([w, -x, -y, -z], torso));
}

// Of Ry(yaw) Rx(pitch) Rz(roll).
function yawPitchRoll(r) {
  const pitch = Math.asin(clamped(-r[5], -1, 1));
  // Looking straight up or down, yaw and roll turn about one axis: call it all yaw.
  if (Math.hypot(r[2], r[8]) < 1e-6) return [Math.atan2(-r[6], r[0]), pitch, 0];
  return [Math.atan2(r[2], r[8]), pitch, Math.atan2(r[3], r[4])];
}
