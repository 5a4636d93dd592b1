/** Measures the bytes that an idle established connection occupies. Run with `--expose-gc`; prints one JSON object. */

import { VirtualClock } from '@pktkit/testkit';
import { type TcpConnection, TcpStack, type TcpStackOptions } from '../../src/index.ts';
import { A, B } from '../transfer.ts';

const gc = (globalThis as { gc?: () => void }).gc;
if (gc === undefined) throw new Error('run with --expose-gc');

/** So many that what the compiler and the tables' growth take does not count. */
const COUNT = 8000;

/** Heap bytes for each end of `COUNT` connections that have carried `size` bytes each way, and then nothing. */
function idle(size: number): number {
  const clock = new VirtualClock();
  const out: Pick<TcpStackOptions, 'clock'> = { clock };
  const a: TcpStack = new TcpStack({ ...out, output: (packet) => b.handlePacket(packet) });
  const b: TcpStack = new TcpStack({ ...out, output: (packet) => a.handlePacket(packet) });
  const chunk = new Uint8Array(Math.max(1, size));
  let read = 0;
  let echoed = 0;
  const onReadable = (c: TcpConnection) => {
    read += c.readable;
    c.consume(c.readable);
    if (read < size) return;
    read = 0;
    if (echoed++ === 0) c.write(chunk, 0, size);
  };
  b.listen({
    port: 80,
    onConnection: (c) => {
      c.onReadable = onReadable;
    },
  });
  const open = (n: number) => {
    for (let i = 0; i < n; i++) {
      const c = a.connect({ local: A, remote: B, remotePort: 80 });
      c.onReadable = onReadable;
      echoed = 0;
      clock.flush();
      if (size > 0 && c.write(chunk, 0, size) !== size) throw new Error('the buffer is too small');
      clock.advance(100);
      if (echoed !== (size > 0 ? 2 : 0)) throw new Error(`echoed ${echoed} times`);
    }
  };
  open(2000);
  gc?.();
  const before = process.memoryUsage();
  open(COUNT);
  gc?.();
  const after = process.memoryUsage();
  if (a.pages.used + b.pages.used > 0) throw new Error('an idle connection holds a buffer');
  if (a.connections + b.connections !== 2 * (2000 + COUNT)) throw new Error('not all are open');
  a.close();
  b.close();
  return (
    (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / (2 * COUNT)
  );
}

process.stdout.write(
  JSON.stringify({ fresh: idle(0), 'a byte each way': idle(1), '100 KB each way': idle(100_000) }),
);
