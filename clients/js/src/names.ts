/** What a channel's name says of it. */

const CACHE = /^(?:private-encrypted-|private-|presence-)?cache-/
const PROTECTED = /^(?:\[meta\])?(?:private|presence)-/

export const isCache = (name: string): boolean => CACHE.test(name)
export const isProtected = (name: string): boolean => PROTECTED.test(name)

/** What a name with `*` fits; null for the name of one channel. */
export const patternOf = (name: string): RegExp | null =>
  name.includes("*") ? new RegExp(`^(?!private-|presence-|#|\\[meta\\])${name.split("*").map(escaped).join(".*")}$`, "s") : null

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
