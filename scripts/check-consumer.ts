// Packs every package, installs the tarballs into an empty project the way a user would, imports every entry,
// type-checks a file that does, and compiles and runs what the READMEs show. Installing one package must bring that
// package and what it imports, and no more.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ENDING, readmeExamples } from './readme-examples.ts';

interface Manifest {
  name: string;
  private?: boolean;
  exports: Record<string, unknown>;
  dependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'pktkit-consumer-'));
const tarballs = join(work, 'tarballs');

try {
  mkdirSync(tarballs);
  const manifests = readdirSync(join(root, 'packages')).map(pack);
  const files = new Map(
    manifests.map(({ name }) => [name, `file:${join(tarballs, tarballOf(name))}`]),
  );

  // Optional peers that are not ours: whoever imports the entry that needs one installs it.
  const peers = Object.assign({}, ...manifests.map((manifest) => manifest.peerDependencies ?? {}));
  for (const name of files.keys()) delete peers[name];
  const everything = project('everything', [...files.keys()], files, {
    ...peers,
    '@types/node': '20.19.43',
  });
  const entries = manifests.flatMap(({ name, exports }) =>
    Object.keys(exports)
      .filter((path) => path !== './package.json')
      .map((path) => name + path.slice(1)),
  );
  writeFileSync(
    join(everything, 'index.ts'),
    entries.map((entry, i) => `import * as m${i} from '${entry}';\nvoid m${i};\n`).join(''),
  );
  writeFileSync(
    join(everything, 'index.mjs'),
    entries.map((entry) => `await import('${entry}');\n`).join(''),
  );
  run(everything, process.execPath, ['index.mjs']);
  const examples = readmeExamples(root);
  for (const { name, code } of examples) writeFileSync(join(everything, `${name}.ts`), code);
  const tsc = join(root, 'node_modules/.bin/tsc');
  const sources = ['index.ts', ...examples.map(({ name }) => `${name}.ts`)];
  const options = ['--strict', '--module', 'node20', '--target', 'es2023', '--types', 'node'];
  run(everything, tsc, ['--outDir', 'compiled', ...options, ...sources]);
  console.log(`${entries.length} entries of ${manifests.length} packages import and type-check`);
  for (const name of ENDING) {
    if (!examples.some((example) => example.name === name)) throw new Error(`no example ${name}`);
    run(everything, process.execPath, [join('compiled', `${name}.js`)]);
  }
  console.log(`${examples.length} programs of the READMEs compile, ${ENDING.size} of them ran`);

  for (const { name } of manifests) {
    const alone = project(name.replace('/', '-'), [name], files);
    const installed = readdirSync(join(alone, 'node_modules/@pktkit')).map((n) => `@pktkit/${n}`);
    const expected = [...closure(name, manifests)].sort();
    if (JSON.stringify(installed.sort()) !== JSON.stringify(expected)) {
      throw new Error(`${name} alone brought ${installed}, and not ${expected}`);
    }
  }
  console.log('each package alone brings what it imports and no more');
} finally {
  rmSync(work, { recursive: true, force: true });
}

function pack(folder: string): Manifest {
  const path = join(root, 'packages', folder);
  execFileSync('pnpm', ['pack', '--pack-destination', tarballs], { cwd: path, stdio: 'ignore' });
  return JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest;
}

function tarballOf(name: string): string {
  const stem = `${name.slice(1).replace('/', '-')}-`;
  const found = readdirSync(tarballs).find((file) => file.startsWith(stem));
  if (found === undefined) throw new Error(`${name} left no tarball`);
  return found;
}

/** An empty project that depends on `names`; the other packages are taken from their tarballs where they are needed. */
function project(
  name: string,
  names: string[],
  files: Map<string, string>,
  others: Record<string, string> = {},
): string {
  const folder = join(work, name);
  mkdirSync(folder);
  const manifest = {
    private: true,
    type: 'module',
    dependencies: Object.fromEntries(names.map((wanted) => [wanted, files.get(wanted)])),
    devDependencies: others,
    overrides: Object.fromEntries([...files].filter(([other]) => !names.includes(other))),
  };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  run(folder, 'npm', ['install', '--no-audit', '--no-fund', '--no-save', '--loglevel=error']);
  return folder;
}

function closure(name: string, manifests: Manifest[], seen = new Set<string>()): Set<string> {
  seen.add(name);
  const own = manifests.find((manifest) => manifest.name === name);
  for (const dependency of Object.keys(own?.dependencies ?? {})) {
    if (dependency.startsWith('@pktkit/') && !seen.has(dependency)) {
      closure(dependency, manifests, seen);
    }
  }
  return seen;
}

function run(cwd: string, command: string, args: string[]): void {
  execFileSync(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'], timeout: 300_000 });
}
