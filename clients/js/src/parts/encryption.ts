/** Opening what is encrypted end to end: XSalsa20 and Poly1305, as in NaCl's secretbox. */

const SIGMA = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]
const TAG = 16
const P = (1n << 130n) - 5n

const bytesOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
const words = (bytes: Uint8Array): number[] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(index * 4, true))
}
const rotated = (value: number, by: number): number => (value << by) | (value >>> (32 - by))

/** The twenty rounds of Salsa20. */
function rounds(input: readonly number[]): Int32Array {
  const x = Int32Array.from(input)
  const quarter = (a: number, b: number, c: number, d: number): void => {
    x[b]! ^= rotated((x[a]! + x[d]!) | 0, 7)
    x[c]! ^= rotated((x[b]! + x[a]!) | 0, 9)
    x[d]! ^= rotated((x[c]! + x[b]!) | 0, 13)
    x[a]! ^= rotated((x[d]! + x[c]!) | 0, 18)
  }
  for (let round = 0; round < 10; round++) {
    quarter(0, 4, 8, 12)
    quarter(5, 9, 13, 1)
    quarter(10, 14, 2, 6)
    quarter(15, 3, 7, 11)
    quarter(0, 1, 2, 3)
    quarter(5, 6, 7, 4)
    quarter(10, 11, 8, 9)
    quarter(15, 12, 13, 14)
  }
  return x
}

/** Constants stand on the diagonal, the key around the nonce. */
const block = (key: readonly number[], nonce: readonly number[]): number[] => [
  SIGMA[0]!, ...key.slice(0, 4), SIGMA[1]!, ...nonce, SIGMA[2]!, ...key.slice(4), SIGMA[3]!,
]

/** The first bytes of the key stream for a nonce of 24 bytes. */
function stream(key: Uint8Array, nonce: Uint8Array, length: number): Uint8Array {
  const first = rounds(block(words(key), words(nonce.subarray(0, 16))))
  const inner = [0, 5, 10, 15, 6, 7, 8, 9].map((index) => first[index]!)
  const rest = words(nonce.subarray(16))
  const out = new Int32Array(Math.ceil(length / 64) * 16)
  for (let count = 0; count * 16 < out.length; count++) {
    const input = block(inner, [...rest, count, 0])
    rounds(input).forEach((word, index) => (out[count * 16 + index] = word + input[index]!))
  }
  const bytes = new Uint8Array(out.length * 4)
  const view = new DataView(bytes.buffer)
  out.forEach((word, index) => view.setInt32(index * 4, word, true))
  return bytes.subarray(0, length)
}

/** A little-endian number. */
const big = (bytes: Uint8Array): bigint => {
  let value = 0n
  for (let at = bytes.length - 1; at >= 0; at--) value = (value << 8n) | BigInt(bytes[at]!)
  return value
}

function authenticator(message: Uint8Array, key: Uint8Array): bigint {
  const r = big(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn
  let sum = 0n
  for (let at = 0; at < message.length; at += 16) {
    const piece = message.subarray(at, at + 16)
    sum = ((sum + big(piece) + (1n << BigInt(8 * piece.length))) * r) % P
  }
  return (sum + big(key.subarray(16, 32))) & ((1n << 128n) - 1n)
}

/** The text in `{nonce, ciphertext}` of an event; null when the secret is another. */
export function open(data: { nonce: string; ciphertext: string }, secret: string): string | null {
  const [key, nonce, sealed] = [bytesOf(secret), bytesOf(data.nonce), bytesOf(data.ciphertext)]
  if (key.length !== 32 || nonce.length !== 24 || sealed.length < TAG) return null
  const message = sealed.subarray(TAG)
  const pad = stream(key, nonce, 32 + message.length)
  if (authenticator(message, pad.subarray(0, 32)) !== big(sealed.subarray(0, TAG))) return null
  return new TextDecoder().decode(message.map((byte, index) => byte ^ pad[32 + index]!))
}
