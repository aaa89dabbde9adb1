/** What happens to a page or a worker that its connection has to know of. */
export interface PageEvents {
  /** The network is back, or the page is shown or thawed. */
  wake(): void
  offline(): void
  /** The page is put aside; nothing more may run. */
  suspend(): void
  /** The page may never run again. */
  save(): void
}

/** Calls back until the returned function is called. Does nothing where there are no pages. */
export function watchPage({ wake, offline, suspend, save }: PageEvents): () => void {
  const scope = globalThis as unknown as EventTarget & { document?: Document }
  if (typeof scope.addEventListener !== "function") return () => {}
  const page = scope.document
  const watched: [EventTarget | undefined, string, () => void][] = [
    [scope, "online", wake],
    [scope, "offline", offline],
    [scope, "pageshow", wake],
    [scope, "pagehide", () => (save(), suspend())],
    [page, "freeze", save],
    [page, "resume", wake],
    [page, "visibilitychange", () => (page?.visibilityState === "hidden" ? save() : wake())],
  ]
  for (const [target, event, handler] of watched) target?.addEventListener?.(event, handler)
  return () => {
    for (const [target, event, handler] of watched) target?.removeEventListener?.(event, handler)
  }
}
