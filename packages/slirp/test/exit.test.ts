import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('a reset during a shutdown leaves no handle behind that keeps the process', () => {
  const child = fileURLToPath(new URL('exit.child.ts', import.meta.url));
  const { status, signal, stdout } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--conditions=@pktkit/source', child],
    { encoding: 'utf8', timeout: 20_000 },
  );
  expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: 'closed\n' });
});
