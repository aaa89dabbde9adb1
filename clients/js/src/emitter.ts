import type { Frame } from "./frames.js"

/** What a message carries beside its data: the frame as it came. */
export type Metadata = Readonly<Frame>
export type Listener = (data: any, metadata?: Metadata) => void
export type GlobalListener = (event: string, data: any, metadata?: Metadata) => void

interface Binding<Callback> {
  callback: Callback
  context: unknown
}

/** System events are known by the names that pusher-js gives them; the server's own prefix means the same. */
export const publicName = (event: string): string => (event.startsWith("sockudo") ? event.replace(/^sockudo(?=:|_internal:)/, "pusher") : event)

/** Reports what a listener throws as any other uncaught error, and goes on: the mistake of one costs no other a message. */
export function report(error: unknown): void {
  setTimeout(() => {
    throw error
  })
}

/** Lists are replaced, never changed: listeners may bind and unbind while an event is under way. */
export class Emitter {
  #named = new Map<string, readonly Binding<Listener>[]>()
  #global: readonly Binding<GlobalListener>[] = []

  bind(event: string, callback: Listener, context?: unknown): this {
    const name = publicName(event)
    this.#named.set(name, [...(this.#named.get(name) ?? []), { callback, context }])
    return this
  }

  /** Takes away the bindings that all given arguments fit; without any, all. */
  unbind(event?: string | null, callback?: Listener | null, context?: unknown): this {
    const names = event ? [publicName(event)] : [...this.#named.keys()]
    for (const name of names) {
      const left = (this.#named.get(name) ?? []).filter(
        (each) => (callback && each.callback !== callback) || (context && each.context !== context),
      )
      if (left.length) this.#named.set(name, left)
      else this.#named.delete(name)
    }
    return this
  }

  bind_global(callback: GlobalListener, context?: unknown): this {
    this.#global = [...this.#global, { callback, context }]
    return this
  }

  unbind_global(callback?: GlobalListener): this {
    this.#global = callback ? this.#global.filter((each) => each.callback !== callback) : []
    return this
  }

  unbind_all(): this {
    this.#named.clear()
    return this.unbind_global()
  }

  emit(event: string, data?: unknown, metadata?: Metadata): this {
    for (const { callback, context } of this.#global) {
      try {
        callback.call(context, event, data, metadata)
      } catch (error) {
        report(error)
      }
    }
    const bindings = this.#named.get(event)
    if (bindings) {
      for (const { callback, context } of bindings) {
        try {
          callback.call(context, data, metadata)
        } catch (error) {
          report(error)
        }
      }
    }
    return this
  }

  /** The data of the next such event. */
  next<Data = any>(event: string): Promise<Data> {
    return new Promise((resolve) => {
      const once = (data: Data) => {
        this.unbind(event, once)
        resolve(data)
      }
      this.bind(event, once)
    })
  }
}
