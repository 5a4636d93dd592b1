// Packs the package in the current folder the way it would be published and checks the tarball.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'pktkit-pack-'));

function run(command: string, args: string[]): void {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}

try {
  run('publint', ['--strict']);
  run('pnpm', ['pack', '--pack-destination', folder]);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('pnpm pack left no tarball');
  run('attw', [join(folder, tarball), '--profile', 'esm-only']);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
