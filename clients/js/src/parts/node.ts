/// <reference types="node" />
/** A WebSocket for Node 20, which has none: RFC 6455 over its own http module. */
import type { Socket } from "../connection.js"

const MAX_MESSAGE = 64 * 1024 * 1024
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10]

export class NodeSocket implements Socket {
  binaryType = "arraybuffer"
  onmessage: Socket["onmessage"] = null
  onclose: Socket["onclose"] = null
  onerror: Socket["onerror"] = null
  #stream: import("node:stream").Duplex | null = null
  #request: import("node:http").ClientRequest | null = null
  #rest: Buffer = Buffer.alloc(0)
  #pieces: Buffer[] = []
  #length = 0
  #kind = 0
  #closing = false
  #ended = false

  constructor(url: string) {
    void this.#open(new URL(url))
  }

  async #open(url: URL): Promise<void> {
    const isSecure = url.protocol === "wss:"
    const { request } = isSecure ? await import("node:https") : await import("node:http")
    url.protocol = isSecure ? "https:" : "http:"
    if (this.#ended) return
    const key = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))))
    const asked = request(url, {
      headers: { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key },
    })
    this.#request = asked
    asked.on("upgrade", (_response, stream, head) => {
      this.#stream = stream
      stream.on("data", (piece: Buffer) => this.#read(piece))
      stream.on("close", () => this.#end(1006, ""))
      stream.on("error", () => stream.destroy())
      this.#read(head)
    })
    asked.on("response", (response) => {
      response.resume()
      this.#end(1006, `The server refused the connection with HTTP ${response.statusCode}`)
    })
    asked.on("error", (error) => this.#end(1006, error.message))
    asked.end()
  }

  send(payload: string | Uint8Array): void {
    if (!this.#closing) this.#write(typeof payload === "string" ? TEXT : BINARY, Buffer.from(payload as string))
  }

  close(code = 1000): void {
    if (this.#closing) return
    this.#closing = true
    if (!this.#stream) {
      this.#request?.destroy()
      this.#end(1006, "")
      return
    }
    this.#write(CLOSE, Buffer.from([code >> 8, code & 255]))
    setTimeout(() => this.#stream?.destroy(), 2000).unref()
  }

  #write(kind: number, content: Buffer): void {
    const size = content.length
    const head = size < 126 ? 2 : size < 65536 ? 4 : 10
    const frame = Buffer.alloc(head + 4 + size)
    frame[0] = 128 | kind
    frame[1] = 128 | (head === 2 ? size : head === 4 ? 126 : 127)
    if (head === 4) frame.writeUInt16BE(size, 2)
    else if (head === 10) frame.writeBigUInt64BE(BigInt(size), 2)
    const mask = crypto.getRandomValues(frame.subarray(head, head + 4))
    for (let at = 0; at < size; at++) frame[head + 4 + at] = content[at]! ^ mask[at & 3]!
    this.#stream?.write(frame)
  }

  #read(piece: Buffer): void {
    let rest = this.#rest.length ? Buffer.concat([this.#rest, piece]) : piece
    while (rest.length >= 2 && !this.#ended) {
      let size = rest[1]! & 127
      let head = 2
      if (size === 126) head = 4
      else if (size === 127) head = 10
      if (rest.length < head) break
      if (head === 4) size = rest.readUInt16BE(2)
      else if (head === 10) size = Number(rest.readBigUInt64BE(2))
      if (size + this.#length > MAX_MESSAGE || rest[1]! & 128 || rest[0]! & 0x70) {
        this.#fail(1002)
        return
      }
      if (rest.length < head + size) break
      this.#frame(rest[0]!, rest.subarray(head, head + size))
      rest = rest.subarray(head + size)
    }
    this.#rest = rest
  }

  #frame(first: number, content: Buffer): void {
    const kind = first & 15
    if (kind === PING) this.#write(PONG, content)
    else if (kind === CLOSE) {
      if (!this.#closing) this.#write(CLOSE, content)
      this.#closing = true
      this.#stream?.end()
      this.#end(content.length >= 2 ? content.readUInt16BE(0) : 1005, content.toString("utf8", 2))
    } else if (kind === TEXT || kind === BINARY || kind === CONTINUATION) {
      if ((kind === CONTINUATION) !== (this.#kind !== 0)) return this.#fail(1002)
      this.#kind ||= kind
      this.#pieces.push(content)
      this.#length += content.length
      if (first & 128) this.#message()
    } else if (kind !== PONG) this.#fail(1002)
  }

  #message(): void {
    const whole = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces)
    const isText = this.#kind === TEXT
    this.#pieces = []
    this.#length = this.#kind = 0
    // A copy: the buffer that Node reads into holds other messages as well.
    this.onmessage?.({ data: isText ? whole.toString() : new Uint8Array(whole).buffer })
  }

  #fail(code: number): void {
    this.close(code)
    this.#stream?.destroy()
    this.#end(1006, "The server broke the WebSocket protocol")
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return
    this.#ended = true
    this.onclose?.({ code, reason })
  }
}
