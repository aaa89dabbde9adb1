/** For stock pusher-js 7 and 8: one connection for all tabs, and many channels authorized in one request. */
import { type AuthCallback, type ChannelAuthorization, type ChannelRequest, type Endpoint, Signatures } from "../auth.js"
import type { Socket, SocketConstructor } from "../connection.js"
import { type Frame, json } from "../frames.js"
import { type Room, type SharedSocket, share as shared } from "../parts/share.js"

interface Runtime {
  getWebSocketAPI(): SocketConstructor
  createWebSocket(url: string): unknown
}

const sharing = new WeakSet<Runtime>()

/** All clients that are made of this class from now on share a connection with those of other tabs. Returns the class. */
export function share<Class extends { Runtime: any }>(Pusher: Class): Class {
  const runtime: Runtime = Pusher.Runtime
  if (sharing.has(runtime)) return Pusher
  sharing.add(runtime)
  const rooms = new Map<string, Room>()
  runtime.createWebSocket = (url) => {
    const Socket = runtime.getWebSocketAPI()
    const address = url.split("?")[0]!
    const room = rooms.get(address) ?? {}
    rooms.set(address, room)
    const prepared = shared({ url, Socket, format: json }, room, "pusher")
    return prepared.Socket === Socket ? new Socket(url) : new TextSocket(new prepared.Socket(url) as SharedSocket)
  }
  return Pusher
}

/** A WebSocket as pusher-js knows it, whose messages are text. */
class TextSocket {
  onopen: (() => void) | null = null
  onmessage: ((event: { data: string }) => void) | null = null
  onclose: ((event: { code: number; reason: string; wasClean: boolean }) => void) | null = null
  onerror: Socket["onerror"] = null

  constructor(private readonly shared: SharedSocket) {
    shared.onopen = () => this.onopen?.()
    shared.onmessage = ({ data }) => this.onmessage?.({ data: JSON.stringify(data) })
    // After an end that was not clean pusher-js may give up WebSockets for good.
    shared.onclose = (event) => this.onclose?.({ ...event, wasClean: event.code !== 1006 })
  }

  send(text: string): void {
    this.shared.send(JSON.parse(text) as Frame)
  }

  close(): void {
    this.shared.close()
  }
}

type Handler = (request: ChannelRequest, callback: AuthCallback<ChannelAuthorization>) => void

/** A `customHandler` for `channelAuthorization` that asks for all channels of a moment with one request. */
export function batched(options: Endpoint<ChannelRequest, ChannelAuthorization> = {}): Handler {
  const signatures = new Signatures({ channelAuthorization: options, authorize: { batch: true } })
  return ({ socketId, channelName }, callback) => {
    signatures.channel(socketId, channelName).then(
      (answer) => callback(null, answer),
      (error: Error) => callback(error, null),
    )
  }
}
