import { Accept } from '@pktkit/core';
import { describe, expect, it } from 'vitest';
import { flows, goodput } from './grid.ts';
import { pair } from './link.ts';
import { A, B } from './transfer.ts';

const RTTS = [1, 20, 100, 300];
const SECONDS = 4;

/** One line per RTT: percent of a bottleneck of 20 Mbit/s that was read in the first four seconds. */
function table(columns: Record<string, object>): string {
  const names = Object.keys(columns);
  const lines = RTTS.map((rtt) => {
    const cells = names.map((name) => goodput({ rtt, rate: 20e6, ...columns[name] }, SECONDS));
    return [`${rtt} ms`, ...cells].join('\t');
  });
  return ['', ['RTT', ...names].join('\t'), ...lines, ''].join('\n');
}

describe('goodput over the grid', () => {
  it('by loss', () => {
    expect(
      table({ '0': {}, '0.1 %': { loss: 0.001 }, '1 %': { loss: 0.01 }, '5 %': { loss: 0.05 } }),
    ).toMatchSnapshot();
  });

  it('by kind of trouble', () => {
    expect(
      table({
        bursts: { loss: 0.001, burst: 0.6 },
        reordering: { reorder: 0.02 },
        duplication: { duplicate: 0.05 },
        ecn: { ecn: true, queue: 128 << 10 },
      }),
    ).toMatchSnapshot();
  });

  it('by bottleneck queue', () => {
    expect(
      table({
        '64 KiB': { queue: 64 << 10 },
        '256 KiB': { queue: 256 << 10 },
        '1 MiB': { queue: 1 << 20 },
        '16 MiB': { queue: 16 << 20 },
      }),
    ).toMatchSnapshot();
  });

  it('by buffer', () => {
    expect(
      table({ '64 KiB': { buffer: 64 << 10 }, '1 MiB': { buffer: 1 << 20 }, '16 MiB': {} }),
    ).toMatchSnapshot();
  });

  it('by congestion control', () => {
    const columns = Object.fromEntries(
      (['cubic', 'newreno', 'highspeed'] as const).map((name) => [
        name,
        { loss: 0.0005, options: { congestionControl: name } },
      ]),
    );
    expect(table(columns)).toMatchSnapshot();
  });
});

describe('two flows through one bottleneck', () => {
  for (const congestionControl of ['cubic', 'newreno', 'highspeed'] as const) {
    it(`${congestionControl}: share it fairly (Jain's index at least 0.95)`, () => {
      const link = { delay: 10, rate: 30e6, queue: 96 << 10 };
      const [x, y] = flows(link, 2, 60, 3, { congestionControl }, 1000);
      expect((x + y) ** 2 / (2 * (x * x + y * y))).toBeGreaterThan(0.95);
      expect(((x + y) * 8) / 60 / 30e6).toBeGreaterThan(0.9);
    }, 30_000);
  }
});

it('10 Gbit/s over 100 ms: the pipe is filled', () => {
  const options = { sendBuffer: 512 << 20, receiveBuffer: 512 << 20 };
  const stack = { defaults: options, offload: Accept.ALL, limits: { bufferedBytes: 2 ** 31 } };
  const p = pair({ delay: 50, rate: 10e9, queue: 64 << 20 }, 1, stack, stack);
  let got = 0;
  const chunk = new Uint8Array(1 << 20);
  p.b.listen({
    port: 80,
    onConnection: (c) => {
      c.onReadable = () => {
        got += c.readable;
        c.consume(c.readable);
      };
    },
  });
  const c = p.a.connect({ local: A, remote: B, remotePort: 80 });
  const pump = () => {
    while (c.write(chunk) === chunk.length);
  };
  c.onConnected = pump;
  c.onWritable = pump;
  p.clock.advance(3500);
  const before = got;
  p.clock.advance(200);
  expect(((got - before) * 8) / 0.2).toBeGreaterThan(9.5e9);
}, 120_000);
