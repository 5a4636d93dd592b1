/** What only a process of its own can show: bytes allocated per packet. */

import { run } from '@pktkit/testkit';
import { expect, it } from 'vitest';

it('WG-13: nothing is allocated for a packet that leaves, and one window for a packet that comes', async () => {
  const child = ['--import', 'tsx', '--conditions=@pktkit/source', 'children/allocation.ts'];
  const { stdout } = await run(process.execPath, ['--expose-gc', ...child], {
    cwd: import.meta.dirname,
    timeout: 290_000,
  });
  const bytes = JSON.parse(stdout) as Record<string, number>;
  expect(Object.keys(bytes)).toHaveLength(4);
  for (const [name, perPacket] of Object.entries(bytes)) {
    // A window has 56 bytes. Where the system puts buffers beyond 2 GiB, an address is an object of 16 bytes, made anew
    // when OpenSSL is given another buffer than before: here, where two sides take turns, for each. Half of one such
    // object is the measuring itself.
    expect(perPacket, name).toBeLessThan(name.startsWith('out and in') ? 56 + 2 * 16 + 8 : 8);
  }
}, 300_000);
