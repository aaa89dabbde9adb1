// Builds dist: the module, the classic script, and the parts that either of them loads on demand.
import { rm } from "node:fs/promises"
import { build } from "esbuild"

const common = { bundle: true, minify: true, sourcemap: true, target: "es2022", outdir: "dist", logLevel: "warning" }

/** The class itself is the global, and what `require` gives. */
const classic = 'Sockudo=Sockudo.default;typeof module=="object"&&(module.exports=Sockudo);'

/** A part is a file of its own beside the others. */
const parts = {
  name: "parts",
  setup({ onResolve }) {
    onResolve({ filter: /\/parts\/\w+\.js$/ }, ({ kind, path }) =>
      kind === "dynamic-import" ? { path: path.replace(/^.*\/(\w+)\.js$/, "./sockudo-$1.mjs"), external: true } : undefined,
    )
  },
}

await rm("dist", { recursive: true, force: true })
await Promise.all([
  build({ ...common, entryPoints: { sockudo: "src/index.ts" }, format: "esm", outExtension: { ".js": ".mjs" }, plugins: [parts] }),
  build({ ...common, entryPoints: { sockudo: "src/classic.ts" }, format: "iife", globalName: "Sockudo", footer: { js: classic }, plugins: [parts] }),
  build({
    ...common,
    entryPoints: Object.fromEntries(["binary", "deltas", "encryption", "node"].map((name) => [`sockudo-${name}`, `src/parts/${name}.ts`])),
    format: "esm",
    outExtension: { ".js": ".mjs" },
    external: ["node:*"],
  }),
])
