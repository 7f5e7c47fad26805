// A small fully connected network with ELU: avatar/network.py.

import { DecoderFileError } from "./tensor_file.js";

export class Network {
  constructor(file, name, inputs, outputs) {
    this.direct = file.array(`${name}.direct`, "F32", [outputs, inputs]);
    this.layers = [];
    let width = inputs;
    while (file.has(`${name}.${this.layers.length}.weight`)) {
      const layer = `${name}.${this.layers.length}`;
      const weight = file.array(`${layer}.weight`, "F32", [null, width]);
      width = file.shape(`${layer}.weight`)[0];
      this.layers.push({ weight, bias: file.array(`${layer}.bias`, "F32", [width]) });
    }
    if (!this.layers.length || width !== outputs) {
      throw new DecoderFileError(`decoder file: ${name}: expected layers that end in ${outputs}`);
    }
  }

  // (inputs,) -> (outputs,)
  of(x) {
    let h = x;
    this.layers.forEach(({ weight, bias }, k) => {
      const y = bias.slice();
      addProduct(y, weight, h);
      if (k + 1 < this.layers.length) {
        for (let j = 0; j < y.length; j++) if (y[j] <= 0) y[j] = Math.expm1(y[j]);
      }
      h = y;
    });
    addProduct(h, this.direct, x);
    return h;
  }
}

// y (n,) += matrix (n, m) x (m,)
function addProduct(y, matrix, x) {
  const m = x.length;
  for (let j = 0; j < y.length; j++) {
    let sum = 0;
    for (let k = 0, at = j * m; k < m; k++) sum += matrix[at + k] * x[k];
    y[j] += sum;
  }
}
