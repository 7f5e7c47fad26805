// The wearer's own hands and controllers, as they are seen in the stage.

import {
  BufferGeometry, CapsuleGeometry, CylinderGeometry, Group, InstancedMesh, Line, LineBasicMaterial,
  Matrix4, Mesh, MeshLambertMaterial, Quaternion, SphereGeometry, Vector3,
} from "./vendor/three.module.min.js";
import { JOINTS } from "./pointers.js";

// Parent of each joint, in XRHand's order; metacarpals hang on the wrist.
const PARENTS = [
  -1, 0, 1, 2, 3, 0, 5, 6, 7, 8, 0, 10, 11, 12, 13, 0, 15, 16, 17, 18, 0, 20, 21, 22, 23,
];
const BONES = PARENTS.map((parent, joint) => [parent, joint]).filter(([parent]) => parent >= 0);
const UP = new Vector3(0, 1, 0);
const RAY_M = 0.6;
const THICKEST_M = 0.014; // a wrist's true radius would look like a ball

function handMaterial() {
  return new MeshLambertMaterial({ color: 0xb9c2cc });
}

/** One hand: a sphere a joint, a bone between two. */
class DrawnHand {
  constructor() {
    const material = handMaterial();
    this.joints = new InstancedMesh(new SphereGeometry(1, 12, 8), material, JOINTS);
    this.bones = new InstancedMesh(new CylinderGeometry(1, 1, 1, 10, 1, true), material, BONES.length);
    this.object = new Group();
    this.object.add(this.joints, this.bones);
    this.joints.frustumCulled = this.bones.frustumCulled = false;
    this.object.visible = false;
  }

  show(hand) {
    this.object.visible = Boolean(hand);
    if (!hand) return;
    const { joints } = hand, radii = hand.radii.map((radius) => Math.min(radius, THICKEST_M));
    for (let i = 0; i < JOINTS; i++) {
      PLACE.makeScale(radii[i], radii[i], radii[i]);
      PLACE.setPosition(joints[3 * i], joints[3 * i + 1], joints[3 * i + 2]);
      this.joints.setMatrixAt(i, PLACE);
    }
    BONES.forEach(([parent, joint], i) => {
      FROM.fromArray(joints, 3 * parent);
      ALONG.fromArray(joints, 3 * joint).sub(FROM);
      const length = ALONG.length() || 1e-6;
      TURN.setFromUnitVectors(UP, ALONG.divideScalar(length));
      const radius = 0.85 * Math.min(radii[parent], radii[joint]);
      PLACE.compose(FROM.addScaledVector(ALONG, length / 2), TURN, SIZE.set(radius, length, radius));
      this.bones.setMatrixAt(i, PLACE);
    });
    this.joints.instanceMatrix.needsUpdate = this.bones.instanceMatrix.needsUpdate = true;
  }
}

/** A controller: a handle and the ray that it points with. */
class DrawnController {
  constructor() {
    this.handle = new Mesh(new CapsuleGeometry(0.016, 0.07, 4, 12), handMaterial());
    this.handle.matrixAutoUpdate = false;
    const ray = new BufferGeometry().setFromPoints([new Vector3(), new Vector3(0, 0, -RAY_M)]);
    this.ray = new Line(ray, new LineBasicMaterial({ color: 0x9fc4e8, transparent: true, opacity: 0.5 }));
    this.ray.matrixAutoUpdate = false;
    this.ray.frustumCulled = false;
    this.object = new Group();
    this.object.add(this.handle, this.ray);
  }

  show(pointer) {
    this.handle.visible = Boolean(pointer.grip);
    this.ray.visible = Boolean(pointer.ray);
    if (pointer.grip) this.handle.matrix.copy(pointer.grip).multiply(LYING);
    if (pointer.ray) this.ray.matrix.copy(pointer.ray);
    this.handle.matrixWorldNeedsUpdate = this.ray.matrixWorldNeedsUpdate = true;
  }
}

const LYING = new Matrix4().makeRotationX(Math.PI / 2);

export class Hands {
  constructor(scene) {
    this.object = new Group();
    scene.add(this.object);
    this.hands = { left: new DrawnHand(), right: new DrawnHand() };
    this.object.add(this.hands.left.object, this.hands.right.object);
    this.controllers = new Map(); // pointer -> DrawnController
  }

  /** `shown`: false while the session is blurred; then the system draws its own. */
  update(pointers, shown) {
    for (const side of ["left", "right"])
      this.hands[side].show(shown ? pointers.hand(side) : null);
    const held = new Set();
    for (const pointer of pointers) {
      if (!shown || pointer.kind !== "tracked-pointer") continue;
      held.add(pointer);
      let drawn = this.controllers.get(pointer);
      if (!drawn) {
        this.controllers.set(pointer, (drawn = new DrawnController()));
        this.object.add(drawn.object);
      }
      drawn.show(pointer);
    }
    for (const [pointer, drawn] of this.controllers) {
      if (held.has(pointer)) continue;
      drawn.object.removeFromParent();
      this.controllers.delete(pointer);
    }
  }

  hide() {
    this.hands.left.show(null);
    this.hands.right.show(null);
    for (const drawn of this.controllers.values()) drawn.object.removeFromParent();
    this.controllers.clear();
  }
}

const PLACE = new Matrix4(), FROM = new Vector3(), ALONG = new Vector3(), SIZE = new Vector3();
const TURN = new Quaternion();
