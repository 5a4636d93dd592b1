// Installs with the pinned pnpm when node_modules is missing or older than the lockfile, so that
// `npm test` and `npm run demo` work from a fresh clone with only Node and npm.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, utimesSync } from 'node:fs';

const root = new URL('../', import.meta.url);
const { packageManager } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
const installed = new URL('node_modules/.modules.yaml', root);
const lockfile = new URL('pnpm-lock.yaml', root);

if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lockfile).mtimeMs) {
  const { status } = spawnSync('npx', ['-y', packageManager, 'install', '--frozen-lockfile'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  });
  // pnpm leaves the file untouched when nothing changed.
  if (status === 0) utimesSync(installed, new Date(), new Date());
  process.exit(status ?? 1);
}
