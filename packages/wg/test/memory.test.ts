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
  expect(Object.keys(bytes)).toHaveLength(6);
  for (const [name, perPacket] of Object.entries(bytes)) {
    // A window has 56 bytes, the smallest object 16: half of one is the measuring itself and the compiler's.
    let most = name.startsWith('out and in') ? 56 + 8 : 8;
    // Where the system puts buffers beyond 2 GiB, an address is such an object, made anew when OpenSSL is given another
    // buffer than before: here twice, since what is sealed from where it lies is opened in a buffer of the pool.
    if (name === 'out and in, 1392') most += 2 * 16;
    expect(perPacket, name).toBeLessThan(most);
  }
}, 300_000);
