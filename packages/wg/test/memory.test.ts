/** What only a process of its own can show: bytes allocated per packet. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('WG-13: nothing is allocated for a packet that leaves, and one window for a packet that comes', () => {
  const file = fileURLToPath(new URL('children/allocation.ts', import.meta.url));
  const args = ['--expose-gc', '--import', 'tsx', '--conditions=@pktkit/source', file];
  const cwd = fileURLToPath(new URL('../../..', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 290_000,
    cwd,
  });
  expect(status, stderr).toBe(0);
  const bytes = JSON.parse(stdout) as Record<string, number>;
  expect(Object.keys(bytes)).toHaveLength(4);
  for (const [name, perPacket] of Object.entries(bytes)) {
    // A window has 56 bytes, the smallest object 16: half of one is the measuring itself and the compiler's.
    expect(perPacket, name).toBeLessThan(name.startsWith('out and in') ? 72 : 8);
  }
}, 300_000);
