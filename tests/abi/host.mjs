// Loads a module in npm's opa-wasm and prints its answers. in: MODULE DATA INPUT ENTRYPOINT. out: JSON {result} or {error}.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const require = createRequire(process.env.ABI_NODE + "/");
const { loadPolicy } = require("@open-policy-agent/opa-wasm");
const [module, data, input, entrypoint] = process.argv.slice(2);
try {
  const policy = await loadPolicy(readFileSync(module));
  policy.setData(JSON.parse(data));
  const exported = WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(module))).map((e) => e.name);
  const first = policy.evaluate(JSON.parse(input), entrypoint);
  const second = policy.evaluate(JSON.parse(input), entrypoint);
  console.log(JSON.stringify({ result: first, again: second, exports: exported.length }));
} catch (e) {
  console.log(JSON.stringify({ error: String(e.message ?? e) }));
}
