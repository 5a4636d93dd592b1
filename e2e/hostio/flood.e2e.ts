import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get32, put32 } from '@pktkit/core';
import { bindUdp, tryLibc, type UdpSocket } from '@pktkit/hostio';
import { requireTools, scaled, until } from '@pktkit/testkit';

const FLOWS = 8;
/** Bytes on their way per flow: stays within what the kernel buffers, so that nothing may be lost. */
const WINDOW = 100_000;

interface Flow {
  receiver: UdpSocket;
  peer: number;
  sent: number;
  sentBytes: number;
  got: number;
  gotBytes: number;
}

/** Datagram `n` of a flow has a size of its own and bytes that follow from both. */
function sizeOf(flow: number, n: number): number {
  if (n % 13 < 9) return 1400;
  return 8 + (((n * 2654435761 + flow * 97) >>> 0) % (n % 13 === 12 ? 8000 : 1464));
}

async function flood(io: 'portable' | 'batched', total: number, address: string): Promise<string> {
  let wrong = 0;
  const flows: Flow[] = [];
  const sender = await bindUdp({ io, address, onReceive: () => {} });
  for (let i = 0; i < FLOWS; i++) {
    const flow = { sent: 0, sentBytes: 0, got: 0, gotBytes: 0 } as Flow;
    flow.receiver = await bindUdp({
      io,
      address,
      onReceive: (buf, off, len) => {
        const n = flow.got++;
        flow.gotBytes += len;
        // Sampled all over: checking each byte in script would take a minute longer and find the same faults.
        const fill = (n * 31 + i) & 0xff;
        let good = len === sizeOf(i, n) && get32(buf, off) === n && buf[off + len - 1] === fill;
        for (let at = 4; at < len && good; at += 61) good = buf[off + at] === fill;
        if (!good) wrong++;
      },
    });
    flow.peer = sender.peer(address, flow.receiver.port);
    flows.push(flow);
  }
  const buf = new Uint8Array(9000);
  const started = performance.now();
  let left = total;
  while (left > 0) {
    for (let i = 0; i < FLOWS; i++) {
      const flow = flows[i];
      while (left > 0 && flow.sentBytes - flow.gotBytes < WINDOW) {
        const n = flow.sent++;
        const size = sizeOf(i, n);
        buf.fill((n * 31 + i) & 0xff, 0, size);
        put32(buf, 0, n);
        sender.send(buf, 0, size, flow.peer);
        flow.sentBytes += size;
        left--;
        // Destinations alternate within a batch, too.
        if (n % 3 === 2) break;
      }
    }
    const before = flows.reduce((sum, { gotBytes }) => sum + gotBytes, 0);
    if (flows.every((flow) => flow.sentBytes - flow.gotBytes >= WINDOW)) {
      await until(() => flows.reduce((sum, { gotBytes }) => sum + gotBytes, 0) > before, {
        every: 0,
      });
    }
  }
  await until(() => flows.every(({ sent, got }) => sent === got), {
    every: 1,
    what: () => `all datagrams of ${JSON.stringify(flows.map(({ sent, got }) => [sent, got]))}`,
  });
  const ms = performance.now() - started;
  assert.equal(wrong, 0, 'datagrams that were changed or came out of order');
  const lost = flows.reduce((sum, { receiver }) => sum + receiver.stats.dropReceiveFull, 0);
  assert.equal(lost, 0);
  for (const { receiver } of flows) receiver.close();
  sender.close();
  return `${io}: ${total} datagrams in ${Math.round(ms)} ms`;
}

test('the batched tier carries ten million datagrams unchanged and in order', async (t) => {
  if (!requireTools(t, [], { root: false, files: ['/proc/self/fd'] })) return;
  assert(tryLibc() !== null, 'koffi is a dependency of the tests');
  t.diagnostic(await flood('batched', scaled(8_000_000, 400_000), '127.0.0.1'));
  t.diagnostic(await flood('batched', scaled(2_000_000, 100_000), '::1'));
});

test('the portable tier does, too, slower', async (t) => {
  t.diagnostic(await flood('portable', scaled(200_000, 20_000), '127.0.0.1'));
});
