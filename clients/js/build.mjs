// Builds dist: the module, the classic script, and the parts that either of them loads on demand.
import { readFile, rm, writeFile } from "node:fs/promises"
import { build } from "esbuild"
import ts from "typescript"

const common = { bundle: true, minify: true, sourcemap: true, target: "es2022", outdir: "dist", logLevel: "warning" }

/** The class itself is the global, and what `require` gives. */
const classic = 'Sockudo=Sockudo.default;typeof module=="object"&&(module.exports=Sockudo);'

const plugin = 'typeof module=="object"&&(module.exports=sockudoPusher);'

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
  build({ ...common, entryPoints: { "sockudo-react": "src/react/index.ts" }, format: "esm", outExtension: { ".js": ".mjs" }, external: ["react"] }),
  build({ ...common, entryPoints: { "sockudo-pusher": "src/plugins/pusher.ts" }, format: "iife", globalName: "sockudoPusher", footer: { js: plugin } }),
  build({ ...common, entryPoints: { "sockudo-pusher": "src/plugins/pusher.ts" }, format: "esm", outExtension: { ".js": ".mjs" } }),
  build({
    ...common,
    entryPoints: Object.fromEntries(["binary", "deltas", "encryption", "node", "share"].map((name) => [`sockudo-${name}`, `src/parts/${name}.ts`])),
    format: "esm",
    outExtension: { ".js": ".mjs" },
    external: ["node:*"],
  }),
])

// The types of the hooks name those of the client's own file: a second copy of its classes would be other classes.
const own = /^(?:import|export) [^"]*"\.\/types\.js";?\n/gm
const declared = await Promise.all(
  ["types", "index"].map(async (name) => {
    const source = await readFile(`src/react/${name}.ts`, "utf8")
    const { outputText } = ts.transpileDeclaration(source, { compilerOptions: { target: ts.ScriptTarget.ES2022 } })
    return outputText.replace(own, "").replaceAll('"../index.js"', '"./sockudo.js"')
  }),
)
await writeFile("dist/sockudo-react.d.ts", declared.join(""))
