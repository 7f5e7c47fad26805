// Reads symbols with the page's range decoder for tests/test_page_codec.py. A job is {decoder, messages:
// [{bytes, reads: [[table, index] | ["number"] | ["bits", count], ...]}]}; the answer has what each
// read gave.

import { readFileSync, writeFileSync } from "node:fs";
import { RangeDecoder } from "../../headset/webxr/page/codec/range_decoder.js";
import { SymbolTables } from "../../headset/webxr/page/codec/symbol_tables.js";
import { TensorFile } from "../../headset/webxr/page/codec/tensor_file.js";

const [, , jobPath, resultPath] = process.argv;
const job = JSON.parse(readFileSync(jobPath, "utf8"));
const file = await TensorFile.open(new Uint8Array(readFileSync(job.decoder)));
const tables = new SymbolTables(file.array);
const found = job.messages.map(({ bytes, reads }) => {
  const coder = new RangeDecoder(Buffer.from(bytes, "base64"), 0, tables);
  return reads.map(([kind, index]) => {
    if (kind === "number") return coder.number();
    if (kind === "bits") return coder.bits(index);
    if (kind === "even") return coder.decode(tables.even(index));
    return coder.decode(kind === "key" ? tables.key : tables[kind][index]);
  });
});
writeFileSync(resultPath, JSON.stringify(found));
