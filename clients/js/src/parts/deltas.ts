/** Messages that come as the difference from the one before (spec: filters-deltas § 2.6, 2.9, 2.13 and 3). */
import { checked, type Frame } from "../frames.js"

/** Metadata are the last members of a frame, without spaces. */
const METADATA = /,"__delta_seq":[0-9]+(?:,"__conflation_key":"(?:[^"\\]|\\.)*")?\}$/
const MAX_GROUPS = 1000
const MAX_TARGET = 16 * 1024 * 1024

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const text = new TextEncoder()

export class MalformedDelta extends Error {}

const refuse = (why: string): never => {
  throw new MalformedDelta(why)
}

/** The last message of each channel and conflation key on one connection. */
export class Deltas {
  #bases = new Map<string, { number: number; bytes: Uint8Array }>()
  #algorithm = "fossil"

  /** The frame itself, or the one that it stands for; throws when its base is missing. `payload` is how it came. */
  read(frame: Frame, payload: unknown): Frame {
    const { event, channel = "", __delta_seq: number } = frame
    if (event === "sockudo:delta") return this.#whole(frame, typeof payload !== "string")
    if (event === "sockudo:delta_compression_enabled") this.#algorithm = frame.data?.algorithm ?? this.#algorithm
    else if (number !== undefined) {
      const base = typeof payload === "string" ? payload.replace(METADATA, "}") : reduced(frame)
      this.#keep(channel, frame.__conflation_key, number, text.encode(base))
    }
    return frame
  }

  #keep(channel: string, key: string | undefined, number: number, bytes: Uint8Array): void {
    const group = groupOf(channel, key)
    this.#bases.delete(group)
    this.#bases.set(group, { number, bytes })
    if (this.#bases.size > MAX_GROUPS) this.#bases.delete(this.#bases.keys().next().value!)
  }

  #whole(frame: Frame, isBinary: boolean): Frame {
    const { channel = "", data, message_id, stream_id, serial } = frame
    const base = this.#bases.get(groupOf(channel, data?.conflation_key))
    if (!base || base.number !== data.base_index) return refuse("The message that it is the difference from is not here")
    const decode = { fossil, xdelta3: vcdiff }[(data.algorithm ?? this.#algorithm) as string]
    if (!decode) return refuse(`The format ${data.algorithm} is not known`)
    const delta = Uint8Array.from(atob(data.delta), (letter) => letter.charCodeAt(0))
    const bytes = decode(base.bytes, delta)
    this.#keep(channel, data.conflation_key, data.seq, bytes)
    const whole = checked(JSON.parse(utf8.decode(bytes)))
    if (!isBinary) return whole
    // The shorter text of the binary formats has no ids: they are fields of the difference.
    return { ...whole, ...(message_id && { message_id }), ...(stream_id && { stream_id }), ...(serial !== undefined && { serial }) }
  }
}

const groupOf = (channel: string, key: string | undefined): string => `${channel}\0${key === undefined ? "" : `k${key}`}`
const reduced = ({ event, channel, data }: Frame): string => JSON.stringify({ event, channel, data })

/** Reads numbers and bytes one after the other. */
class Reader {
  at = 0

  constructor(readonly bytes: Uint8Array) {}

  get atEnd(): boolean {
    return this.at >= this.bytes.length
  }

  take(count: number): Uint8Array {
    if (this.at + count > this.bytes.length) refuse("It ends too early")
    return this.bytes.subarray(this.at, (this.at += count))
  }

  byte(): number {
    return this.take(1)[0]!
  }
}

// ---- Fossil ----

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
const VALUES = new Int8Array(256).fill(-1)
for (let index = 0; index < DIGITS.length; index++) VALUES[DIGITS.charCodeAt(index)] = index

function digits(reader: Reader): number {
  let value = 0
  const start = reader.at
  for (let digit; !reader.atEnd && (digit = VALUES[reader.bytes[reader.at]!]!) >= 0; reader.at++) {
    value = value * 64 + digit
    if (value > 0xffffffff) refuse("It has a number that is too large")
  }
  return reader.at > start ? value : refuse("A number is missing")
}

const expect = (reader: Reader, letter: string): void => {
  if (reader.byte() !== letter.charCodeAt(0)) refuse(`It lacks a ${JSON.stringify(letter)}`)
}

function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at++) sum = (sum + (bytes[at]! << (24 - 8 * (at & 3)))) | 0
  return sum >>> 0
}

export function fossil(base: Uint8Array, delta: Uint8Array): Uint8Array {
  const reader = new Reader(delta)
  const size = digits(reader)
  expect(reader, "\n")
  if (size > MAX_TARGET) refuse("It makes too many bytes")
  const target = new Uint8Array(size)
  let filled = 0
  for (;;) {
    const count = digits(reader)
    const operation = String.fromCharCode(reader.byte())
    if (operation === ";") {
      if (filled !== size || !reader.atEnd || checksum(target) !== count) refuse("It was made for another base")
      return target
    }
    if (filled + count > size) refuse("It makes more bytes than it announces")
    if (operation === "@") {
      const start = digits(reader)
      expect(reader, ",")
      if (start + count > base.length) refuse("It was made for a longer base")
      target.set(base.subarray(start, start + count), filled)
    } else if (operation === ":") target.set(reader.take(count), filled)
    else refuse("It has an unknown operation")
    filled += count
  }
}

// ---- VCDIFF, with the default code table (RFC 3284 § 5.6) ----

const [ADD, RUN, COPY] = [1, 2, 3]
const NEAR = 4
const SAME = 3
/** Kind, size (0: it follows) and mode of an instruction. */
type Half = readonly [kind: number, size: number, mode: number]

const TABLE = (() => {
  const table: Half[][] = [[[RUN, 0, 0]]]
  for (let size = 0; size <= 17; size++) table.push([[ADD, size, 0]])
  const modes = Array.from({ length: 2 + NEAR + SAME }, (_, mode) => mode)
  for (const mode of modes) for (let size = 3; size <= 18; size++) table.push([[COPY, size === 3 ? 0 : size, mode]])
  for (const mode of modes) {
    for (let add = 1; add <= 4; add++) {
      for (let copy = 4; copy <= (mode < 2 + NEAR ? 6 : 4); copy++) table.push([[ADD, add, 0], [COPY, copy, mode]])
    }
  }
  for (const mode of modes) table.push([[COPY, 4, mode], [ADD, 1, 0]])
  return table
})()

function number(reader: Reader): number {
  let value = 0
  for (;;) {
    const byte = reader.byte()
    value = value * 128 + (byte & 127)
    if (value > 0x7fffffff) refuse("It has a number that is too large")
    if (byte < 128) return value
  }
}

export function vcdiff(base: Uint8Array, delta: Uint8Array): Uint8Array {
  const reader = new Reader(delta)
  if ([0xd6, 0xc3, 0xc4, 0].some((byte) => reader.byte() !== byte)) refuse("It does not begin as VCDIFF does")
  const header = reader.byte()
  if (header & ~4) refuse("It needs a part of VCDIFF that is not read here")
  if (header & 4) reader.take(number(reader))
  let target = new Uint8Array()
  while (!reader.atEnd) {
    const made = window(base, reader, MAX_TARGET - target.length)
    const longer = new Uint8Array(target.length + made.length)
    longer.set(target)
    longer.set(made, target.length)
    target = longer
  }
  return target
}

function window(base: Uint8Array, reader: Reader, most: number): Uint8Array {
  const indicator = reader.byte()
  if (indicator & ~5) refuse("It has a window over the target")
  let source = new Uint8Array(base.buffer, 0, 0)
  if (indicator & 1) {
    const count = number(reader)
    const start = number(reader)
    if (start + count > base.length) refuse("It was made for a longer base")
    source = base.subarray(start, start + count) as Uint8Array<ArrayBuffer>
  }
  const rest = new Reader(reader.take(number(reader)))
  const size = number(rest)
  if (size > most) refuse("It makes too many bytes")
  if (rest.byte()) refuse("It has compressed sections")
  const [dataSize, instructionsSize, addressesSize] = [number(rest), number(rest), number(rest)]
  if (indicator & 4) rest.take(4)
  const [data, instructions, addresses] = [rest.take(dataSize), rest.take(instructionsSize), rest.take(addressesSize)].map((part) => new Reader(part)) as [Reader, Reader, Reader]

  const made = new Uint8Array(source.length + size)
  made.set(source)
  let at = source.length
  const near = new Array<number>(NEAR).fill(0)
  const same = new Array<number>(SAME * 256).fill(0)
  let next = 0
  const address = (mode: number): number => {
    let start
    if (mode === 0) start = number(addresses)
    else if (mode === 1) start = at - number(addresses)
    else if (mode < 2 + NEAR) start = near[mode - 2]! + number(addresses)
    else start = same[(mode - 2 - NEAR) * 256 + addresses.byte()]!
    if (start < 0 || start >= at) refuse("It copies from where nothing is")
    near[next] = start
    next = (next + 1) % NEAR
    same[start % (SAME * 256)] = start
    return start
  }
  while (!instructions.atEnd) {
    for (const [kind, given, mode] of TABLE[instructions.byte()]!) {
      const count = given || number(instructions)
      if (at + count > made.length) refuse("It makes more bytes than it announces")
      if (kind === ADD) made.set(data.take(count), at)
      else if (kind === RUN) made.fill(data.byte(), at, at + count)
      // A copy may go on into what it has just made: then a period of bytes is repeated.
      else for (let from = address(mode), index = 0; index < count; index++) made[at + index] = made[from + index]!
      at += count
    }
  }
  if (at !== made.length || !data.atEnd || !addresses.atEnd) refuse("It makes another number of bytes than it announces")
  return made.subarray(source.length)
}
