/** What only a process of its own can show: how much memory a connection takes. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('an idle established connection takes 2 KiB at most, and no buffer', () => {
  const file = fileURLToPath(new URL('children/idle-memory.ts', import.meta.url));
  const args = ['--expose-gc', '--import', 'tsx', '--conditions=@pktkit/source', file];
  const cwd = fileURLToPath(new URL('../../..', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 290_000,
    cwd,
  });
  expect(status, stderr).toBe(0);
  const bytes = JSON.parse(stdout) as Record<string, number>;
  expect(Object.keys(bytes)).toHaveLength(3);
  for (const [name, perConnection] of Object.entries(bytes)) {
    expect(perConnection, name).toBeLessThanOrEqual(2048);
    // Less than the object alone would mean that nothing was measured.
    expect(perConnection, name).toBeGreaterThan(512);
  }
}, 300_000);
