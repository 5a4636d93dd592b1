/** Goodput over simulated paths as a share of the bottleneck: a cell of the grid. */

import type { TcpConnection, TcpOptions } from '../src/index.ts';
import { type LinkOptions, pair } from './link.ts';
import { A, B } from './transfer.ts';

export interface Cell {
  rtt: number;
  loss?: number;
  burst?: number;
  reorder?: number;
  duplicate?: number;
  queue?: number;
  rate?: number;
  buffer?: number;
  options?: TcpOptions;
  ecn?: boolean;
}

/** Percent of the bottleneck that was read in `seconds` of virtual time, slow start included. */
export function goodput(cell: Cell, seconds: number, seed = 1): number {
  const rate = cell.rate ?? 100e6;
  const link: LinkOptions = {
    delay: cell.rtt / 2,
    rate,
    queue: cell.queue ?? 1 << 20,
    loss: cell.loss ?? 0,
    reorderDelay: Math.max(1, cell.rtt / 10),
  };
  if (cell.burst !== undefined) link.burst = cell.burst;
  if (cell.reorder !== undefined) link.reorder = cell.reorder;
  if (cell.duplicate !== undefined) link.duplicate = cell.duplicate;
  if (cell.ecn) link.mark = true;
  const buffer = cell.buffer ?? 16 << 20;
  const options: TcpOptions = {
    sendBuffer: buffer,
    receiveBuffer: buffer,
    ...(cell.ecn ? { ecn: true } : {}),
    ...cell.options,
  };
  const [got] = flows(link, 1, seconds, seed, options);
  return Math.round((got * 8 * 100) / (rate * seconds));
}

/** Bytes that each of `count` flows through one bottleneck reads in `seconds`; `stagger` ms between their starts. */
export function flows(
  link: LinkOptions,
  count: number,
  seconds: number,
  seed: number,
  options: TcpOptions,
  stagger = 0,
): number[] {
  const p = pair(link, seed, { defaults: options }, { defaults: options });
  const got: number[] = [];
  const chunk = new Uint8Array(65536);
  p.b.listen({
    port: 80,
    onConnection: (c) => {
      const index = c.remotePort - 10_000;
      got[index] = 0;
      c.onReadable = () => {
        got[index] += c.readable;
        c.consume(c.readable);
      };
    },
  });
  for (let i = 0; i < count; i++) {
    got[i] = 0;
    const c: TcpConnection = p.a.connect({
      local: A,
      localPort: 10_000 + i,
      remote: B,
      remotePort: 80,
    });
    const pump = () => {
      while (c.write(chunk) === chunk.length);
    };
    c.onConnected = pump;
    c.onWritable = pump;
    p.clock.advance(stagger);
  }
  p.clock.advance(seconds * 1000 - stagger * count);
  return got;
}
