/** One frame of protocol V2, in any format. What is absent has no member. */
export interface Frame {
  event: string
  channel?: string
  data?: any
  name?: string
  user_id?: string
  tags?: Record<string, string>
  message_id?: string
  stream_id?: string
  serial?: number
  extras?: Record<string, unknown>
  __delta_seq?: number
  __conflation_key?: string
}

/** How frames look on the wire. `decode` throws on anything that is none. */
export interface Format {
  encode(frame: Frame): string | Uint8Array<ArrayBuffer>
  decode(payload: unknown): Frame
}

/** A frame, if the value is one: what a stranger sends is not believed. */
export function checked(value: unknown): Frame {
  const frame = value as Frame
  if (
    typeof frame !== "object" ||
    frame === null ||
    typeof frame.event !== "string" ||
    !(frame.channel === undefined || typeof frame.channel === "string") ||
    !(frame.serial === undefined || typeof frame.serial === "number")
  ) {
    throw new TypeError("not a frame of the protocol")
  }
  return frame
}

export const json: Format = {
  encode: JSON.stringify,
  decode(payload) {
    if (typeof payload !== "string") throw new TypeError("a binary message where JSON was expected")
    return checked(JSON.parse(payload))
  },
}

/** The data of an event: text that holds JSON is parsed, other text stays text. */
export function parsed(data: unknown): any {
  if (typeof data !== "string") return data
  try {
    return JSON.parse(data)
  } catch {
    return data
  }
}
