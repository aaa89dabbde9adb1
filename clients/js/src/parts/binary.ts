/** The binary formats (spec: websocket § 16). */
import { checked, type Format, type Frame } from "../frames.js"

/** In the order of the array of MessagePack; the field numbers of Protobuf are one more. */
const FIELDS = [
  "event",
  "channel",
  "data",
  "name",
  "user_id",
  "tags",
  "sequence",
  "conflation_key",
  "message_id",
  "stream_id",
  "serial",
  "idempotency_key",
  "extras",
  "__delta_seq",
  "__conflation_key",
] as const
const MAX_DEPTH = 64

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const text = new TextEncoder()

class Reader {
  readonly #view: DataView
  at = 0

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get atEnd(): boolean {
    return this.at >= this.bytes.length
  }

  take(count: number): Uint8Array {
    const end = this.at + count
    if (end > this.bytes.length) throw new RangeError("ends too early")
    const piece = this.bytes.subarray(this.at, end)
    this.at = end
    return piece
  }

  text(count: number): string {
    return utf8.decode(this.take(count))
  }

  /** A number of this kind, in the byte order of MessagePack unless it is little endian. */
  number(kind: "Uint8" | "Uint16" | "Uint32" | "Int8" | "Int16" | "Int32" | "Float32" | "Float64", little = false): number {
    const at = this.at
    this.take(kind.endsWith("8") ? 1 : kind.endsWith("16") ? 2 : kind.endsWith("32") ? 4 : 8)
    return this.#view[`get${kind}`](at, little)
  }

  varint(): number {
    let value = 0
    for (let scale = 1; scale <= 2 ** 63; scale *= 128) {
      const byte = this.number("Uint8")
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    throw new RangeError("a number that is too long")
  }
}

const bytesOf = (payload: unknown): Uint8Array => {
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload)
  if (payload instanceof Uint8Array) return payload
  throw new TypeError("a text message where a binary one was expected")
}

/** What is absent has no member. */
const present = (fields: Record<string, unknown>): Frame => {
  for (const name of Object.keys(fields)) if (fields[name] === undefined || (fields[name] === null && name !== "data")) delete fields[name]
  return checked(fields)
}

const dataOf = (kind: unknown, value: any): unknown => {
  if (kind === "string") return String(value)
  if (kind === "json") return JSON.parse(value)
  throw new TypeError(`data of the unknown kind ${kind}`)
}

const extrasOf = ({ headers, idempotency_key, ephemeral, echo, ai }: Record<string, any>): Record<string, unknown> => {
  const extras: Record<string, unknown> = {}
  if (ephemeral != null) extras.ephemeral = ephemeral
  if (echo != null) extras.echo = echo
  if (ai != null) extras.ai = ai
  if (headers) extras.headers = Object.fromEntries(Object.entries<any>(headers).map(([name, [, value]]) => [name, value]))
  if (idempotency_key != null) extras.idempotencyKey = idempotency_key
  return extras
}

// ---- MessagePack ----

function value(reader: Reader, depth = 0): any {
  if (depth > MAX_DEPTH) throw new RangeError("nested too deeply")
  const code = reader.number("Uint8")
  if (code < 0x80) return code
  if (code < 0x90) return map(reader, code & 15, depth)
  if (code < 0xa0) return list(reader, code & 15, depth)
  if (code < 0xc0) return reader.text(code & 31)
  if (code >= 0xe0) return code - 256
  switch (code) {
    case 0xc0:
      return null
    case 0xc2:
      return false
    case 0xc3:
      return true
    case 0xc4:
    case 0xd9:
      return reader.text(reader.number("Uint8"))
    case 0xc5:
    case 0xda:
      return reader.text(reader.number("Uint16"))
    case 0xc6:
    case 0xdb:
      return reader.text(reader.number("Uint32"))
    case 0xca:
      return reader.number("Float32")
    case 0xcb:
      return reader.number("Float64")
    case 0xcc:
      return reader.number("Uint8")
    case 0xcd:
      return reader.number("Uint16")
    case 0xce:
      return reader.number("Uint32")
    case 0xcf:
      return reader.number("Uint32") * 2 ** 32 + reader.number("Uint32")
    case 0xd0:
      return reader.number("Int8")
    case 0xd1:
      return reader.number("Int16")
    case 0xd2:
      return reader.number("Int32")
    case 0xd3:
      return reader.number("Int32") * 2 ** 32 + reader.number("Uint32")
    case 0xdc:
      return list(reader, reader.number("Uint16"), depth)
    case 0xdd:
      return list(reader, reader.number("Uint32"), depth)
    case 0xde:
      return map(reader, reader.number("Uint16"), depth)
    case 0xdf:
      return map(reader, reader.number("Uint32"), depth)
  }
  throw new TypeError(`an unknown kind of value: ${code}`)
}

function list(reader: Reader, count: number, depth: number): unknown[] {
  const items: unknown[] = []
  for (let index = 0; index < count; index++) items.push(value(reader, depth + 1))
  return items
}

function map(reader: Reader, count: number, depth: number): Record<string, unknown> {
  const members: Record<string, unknown> = Object.create(null)
  for (let index = 0; index < count; index++) {
    const name = value(reader, depth + 1)
    if (typeof name !== "string") throw new TypeError("a name that is no text")
    members[name] = value(reader, depth + 1)
  }
  return members
}

/** The bytes of a string behind its length. */
function packed(content: string): number[] {
  const bytes = text.encode(content)
  const size = bytes.length
  const head = size < 32 ? [0xa0 | size] : size < 2 ** 16 ? [0xda, size >> 8, size & 255] : [0xdb, size >>> 24, (size >> 16) & 255, (size >> 8) & 255, size & 255]
  return [...head, ...bytes]
}

export const msgpack: Format = {
  decode(payload) {
    const reader = new Reader(bytesOf(payload))
    const values = value(reader)
    if (!Array.isArray(values) || values.length !== FIELDS.length || !reader.atEnd) throw new TypeError("not a frame in MessagePack")
    const fields = Object.fromEntries(FIELDS.map((name, index) => [name, values[index]]))
    fields.data = fields.data ? dataOf(fields.data[0], fields.data[1]) : undefined
    if (fields.extras) fields.extras = extrasOf(fields.extras)
    return present(fields)
  },

  encode({ event, channel, data }) {
    const fields = FIELDS.flatMap((name) => {
      if (name === "event") return packed(event)
      if (name === "channel" && channel !== undefined) return packed(channel)
      if (name !== "data" || data === undefined) return [0xc0]
      return typeof data === "string"
        ? [0x92, ...packed("string"), ...packed(data)]
        : [0x92, ...packed("json"), ...packed(JSON.stringify(data))]
    })
    return new Uint8Array([0x90 | FIELDS.length, ...fields])
  },
}

// ---- protocol buffers ----

type Handlers = Record<number, (reader: Reader) => void>
const TEXT = 2

/** Reads the fields of a message, and passes over those that are not known. */
function fields(bytes: Uint8Array, handlers: Handlers): void {
  const reader = new Reader(bytes)
  while (!reader.atEnd) {
    const tag = reader.varint()
    const handler = handlers[Math.floor(tag / 8)]
    if (handler) handler(reader)
    else if (tag % 8 === 0) reader.varint()
    else if (tag % 8 === 1) reader.take(8)
    else if (tag % 8 === TEXT) reader.take(reader.varint())
    else if (tag % 8 === 5) reader.take(4)
    else throw new TypeError("a field of an unknown kind")
  }
}

const inner = (reader: Reader): Uint8Array => reader.take(reader.varint())
const string = (reader: Reader): string => reader.text(reader.varint())
const bool = (reader: Reader): boolean => reader.varint() !== 0

function entries<Value>(into: Record<string, Value>, read: (reader: Reader) => Value, otherwise: Value): (reader: Reader) => void {
  return (reader) => {
    let name = ""
    let found = otherwise
    fields(inner(reader), { 1: (each) => (name = string(each)), 2: (each) => (found = read(each)) })
    into[name] = found
  }
}

function header(reader: Reader): unknown {
  let found: unknown[] = []
  fields(inner(reader), {
    1: (each) => (found = ["string", string(each)]),
    2: (each) => (found = ["number", each.number("Float64", true)]),
    3: (each) => (found = ["bool", bool(each)]),
  })
  return found
}

function extras(reader: Reader): Record<string, unknown> {
  const found: Record<string, any> = {}
  const ai: Record<string, any> = {}
  fields(inner(reader), {
    1: entries((found.headers = Object.create(null)), header, []),
    2: (each) => (found.ephemeral = bool(each)),
    3: (each) => (found.idempotency_key = string(each)),
    4: (each) => (found.echo = bool(each)),
    5: (each) => {
      found.ai = ai
      fields(inner(each), {
        1: entries((ai.transport ??= {}), string, ""),
        2: entries((ai.codec ??= {}), string, ""),
      })
    },
  })
  if (!Object.keys(found.headers).length) delete found.headers
  return extrasOf(found)
}

const field = (number: number, bytes: readonly number[] | Uint8Array): number[] => [number * 8 + TEXT, ...varint(bytes.length), ...bytes]

function varint(size: number): number[] {
  return size < 128 ? [size] : [(size % 128) | 128, ...varint(Math.floor(size / 128))]
}

export const protobuf: Format = {
  decode(payload) {
    const found: Record<string, any> = {}
    const read: Handlers = {}
    FIELDS.forEach((name, index) => {
      read[index + 1] = (reader) => (found[name] = string(reader))
    })
    for (const number of [7, 11, 14]) read[number] = (reader) => (found[FIELDS[number - 1]!] = reader.varint())
    read[3] = (reader) =>
      fields(inner(reader), {
        1: (each) => (found.data = dataOf("string", string(each))),
        3: (each) => (found.data = dataOf("json", string(each))),
      })
    const tags: Record<string, string> = Object.create(null)
    const tag = entries(tags, string, "")
    read[6] = (reader) => {
      found.tags = tags
      tag(reader)
    }
    read[13] = (reader) => (found.extras = extras(reader))
    fields(bytesOf(payload), read)
    return present(found)
  },

  encode({ event, channel, data }) {
    const content = data === undefined ? [] : typeof data === "string" ? field(1, text.encode(data)) : field(3, text.encode(JSON.stringify(data)))
    return new Uint8Array([
      ...field(1, text.encode(event)),
      ...(channel === undefined ? [] : field(2, text.encode(channel))),
      ...(data === undefined ? [] : field(3, content)),
    ])
  },
}
