/**
 * `node scripts/page/vendor.js FOLDER`: write the view library into a folder, as browsers load it.
 *
 * The files are those of the packages that package-lock.json pins. Two things differ: a module imports its neighbours by
 * relative paths, since the page's content security policy allows no import map, and the links to source maps are gone.
 */

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGES = join(dirname(fileURLToPath(import.meta.url)), "node_modules");

/** For each module the name by which it is imported, its file in the packages, and its name in the folder. */
const MODULES = [
  ["preact", "preact/dist/preact.mjs", "preact.js"],
  ["preact/hooks", "preact/hooks/dist/hooks.mjs", "hooks.js"],
  ["@preact/signals-core", "@preact/signals-core/dist/signals-core.mjs", "signals-core.js"],
  ["@preact/signals", "@preact/signals/dist/signals.mjs", "signals.js"],
  ["htm", "htm/dist/htm.mjs", "htm.js"],
];

const LICENCES = { preact: "preact", "@preact/signals": "signals", "@preact/signals-core": "signals-core", htm: "htm" };

const names = new Map(MODULES.map(([module, , name]) => [module, `./${name}`]));

/**
 * Return a module's text with its imports as relative paths. Throws an error if it imports a module that is not vendored.
 * @param {string} text
 */
function withRelativeImports(text) {
  return text.replace(/(from|import)"([^"./][^"]*)"/g, (_, word, module) => {
    const name = names.get(module);
    if (!name) throw new Error(`${module} is imported and not vendored`);
    return `${word}"${name}"`;
  });
}

/**
 * Return declarations that refer to the types of a module's package, which is only installed where the types are checked.
 * @param {string} module
 */
function declarations(module) {
  const whole = `export * from "${module}";\n`;
  return module === "htm" ? `export { default } from "${module}";\n` : whole;
}

const target = process.argv[2];
if (!target) throw new Error("say where to: node scripts/page/vendor.js FOLDER");
await mkdir(target, { recursive: true });
for (const [module, file, name] of MODULES) {
  const text = (await readFile(join(PACKAGES, file), "utf8")).replace(/\n?\/\/# sourceMappingURL=.*\n?/, "");
  await writeFile(join(target, name), `${withRelativeImports(text)}\n`);
  await writeFile(join(target, name.replace(/js$/, "d.ts")), declarations(module));
}
for (const [module, name] of Object.entries(LICENCES)) {
  await copyFile(join(PACKAGES, module, "LICENSE"), join(target, `LICENSE.${name}`));
}
const versions = await Promise.all(
  Object.keys(LICENCES).map(async (module) => {
    const { version, license } = JSON.parse(await readFile(join(PACKAGES, module, "package.json"), "utf8"));
    return `${module} ${version} (${license})`;
  }),
);
await writeFile(join(target, "VERSIONS"), `${versions.join("\n")}\n`);
