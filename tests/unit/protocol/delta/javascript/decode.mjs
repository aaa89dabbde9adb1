// Decodes one delta per line of input: a JSON array of format, base and delta, the latter two in base64.
// Writes the target of each in base64, or "error: " and what the decoder said.
import { createInterface } from "node:readline";
import * as fossil from "fossil-delta";
import * as vcdiff from "@ably/vcdiff-decoder";

const applyFossil = fossil.applyDelta ?? fossil.default.applyDelta;
const decodeVcdiff = vcdiff.decode ?? vcdiff.default.decode;

for await (const line of createInterface({ input: process.stdin })) {
  const [format, base, delta] = JSON.parse(line);
  const bytes = [Buffer.from(base, "base64"), Buffer.from(delta, "base64")];
  try {
    const target =
      format === "fossil"
        ? applyFossil(Uint8Array.from(bytes[0]), Uint8Array.from(bytes[1]))
        : decodeVcdiff(bytes[1], bytes[0]);
    console.log(Buffer.from(target).toString("base64"));
  } catch (error) {
    console.log(`error: ${error.message}`);
  }
}
