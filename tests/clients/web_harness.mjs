// The client for browsers in Node; requests and answers as in harness.mjs.
import { createRequire } from "node:module"
import readline from "node:readline"
import { pathToFileURL } from "node:url"

const [built, lab] = process.argv.slice(2)
const { default: Sockudo } = await import(pathToFileURL(`${built}/sockudo.mjs`))
globalThis.Sockudo = Sockudo
globalThis.uncaught = []
globalThis.require = createRequire(import.meta.url)
process.on("uncaughtException", (error) => uncaught.push(error.message))
await import(pathToFileURL(lab))

const write = (object) => process.stdout.write(JSON.stringify(object) + "\n")

async function serve(line) {
  const { id, code, arg } = JSON.parse(line)
  try {
    write({ id, result: (await (0, eval)(`(${code})`)(arg)) ?? null })
  } catch (error) {
    write({ id, error: error instanceof Error ? error.stack : String(error) })
  }
}

const lines = readline.createInterface({ input: process.stdin })
lines.on("line", serve)
lines.on("close", () => process.exit(0))
write({ ready: true })
