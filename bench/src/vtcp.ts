/** The TCP engine: its codec by itself, and whole stacks back to back in one thread. */

import {
  Accept,
  type Clock,
  FlushQueue,
  IpAddr,
  type Packet,
  pool,
  random32,
  type Timer,
  TimerQueue,
} from '@pktkit/core';
import {
  ACK,
  buildSegment,
  Endpoints,
  FlowKey,
  PSH,
  Segment,
  SipHash,
  SynCookies,
  TcpStack,
} from '@pktkit/vtcp';
import { type Bench, keep, type Measurement } from './harness.ts';

const LOCAL = IpAddr.parse('10.0.0.1');
const REMOTE = IpAddr.parse('10.0.0.2');

function key(port: number): FlowKey {
  const flow = new FlowKey();
  flow.set(LOCAL, port, REMOTE, 80);
  return flow;
}

function header(options: number[]): Uint8Array {
  const buf = new Uint8Array(128 + 1460);
  buf.set(
    [0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, (5 + options.length / 4) << 4, 0x18, 1, 0],
    96,
  );
  buf.set(options, 116);
  return buf;
}

function parsing(id: string, options: number[]): Bench {
  const ring = Array.from({ length: 16 }, () => header(options));
  const segment = new Segment();
  const len = 20 + options.length + 1000;
  return {
    id,
    unit: 'ns',
    run(n) {
      let total = 0;
      for (let i = 0; i < n; i++) {
        if (segment.parse(ring[i & 15], 96, len)) {
          total = (total + segment.seq + segment.dataLen + segment.tsVal + segment.sackCount) | 0;
        }
      }
      keep(total);
    },
  };
}

function building(): Bench {
  const flow = new Endpoints(key(40_000));
  const payload = new Uint8Array(1 << 20);
  const fields = { seq: 1, ack: 1, flags: ACK | PSH, window: 1000 };
  return {
    id: 'vtcp.segment.build.1460',
    unit: 'ns',
    run(n) {
      let total = 0;
      for (let i = 0; i < n; i++) {
        fields.seq = i;
        const packet = buildSegment(flow, fields, payload, (i & 511) * 1460, 1460);
        total = (total + packet.len) | 0;
        pool.give(packet.buf);
      }
      keep(total);
    },
  };
}

function cookies(): Bench[] {
  const makers = new SynCookies(new SipHash(random32));
  const keys = Array.from({ length: 16 }, (_, i) => key(30_000 + i));
  const made = keys.map((flow, i) => makers.generate(flow, i, 1460, 1000));
  return [
    {
      id: 'vtcp.syncookie.generate',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) total ^= makers.generate(keys[i & 15], i, 1460, 1000);
        keep(total);
      },
    },
    {
      id: 'vtcp.syncookie.validate',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++)
          total += makers.validate(keys[i & 15], made[i & 15], i & 15, 2000);
        keep(total);
      },
    },
  ];
}

/** Time that stands still: what takes time here is the engine alone. */
class StillClock implements Clock {
  readonly now = 1000;
  readonly wall = 0;
  readonly #timers = new TimerQueue();
  readonly #flushes = new FlushQueue();

  timer(callback: () => void): Timer {
    return this.#timers.timer(callback);
  }

  beginBatch(): void {}

  endBatch(): void {
    this.#flushes.run((error) => {
      throw error;
    });
  }

  endOfBatch(flush: () => void): void {
    this.#flushes.push(flush);
  }

  hold(): void {}
  release(): void {}
}

interface Back2Back {
  clock: StillClock;
  a: TcpStack;
  b: TcpStack;
}

/** Two stacks whose outputs are each other's inputs, on the same call stack. */
function backToBack(offload: number): Back2Back {
  const clock = new StillClock();
  const limits = { timeWait: 4096 };
  const a: TcpStack = new TcpStack({
    clock,
    limits,
    offload,
    output: (packet: Packet) => b.handlePacket(packet),
  });
  const b: TcpStack = new TcpStack({
    clock,
    limits,
    offload,
    output: (packet: Packet) => a.handlePacket(packet),
  });
  return { clock, a, b };
}

/** MB/s of one transfer: written into one end, read at the other. */
function transfer(offload: number, size: number): number {
  const { clock, a, b } = backToBack(offload);
  const chunk = new Uint8Array(256 << 10);
  const into = new Uint8Array(256 << 10);
  let got = 0;
  let ended = false;
  b.listen({
    port: 80,
    onConnection: (c) => {
      c.onReadable = () => {
        for (let n = c.read(into); n > 0; n = c.read(into)) got += n;
      };
      c.onEnd = () => {
        ended = true;
        c.close();
      };
    },
  });
  const c = a.connect({ local: LOCAL, remote: REMOTE, remotePort: 80 });
  let at = 0;
  const pump = () => {
    while (at < size) {
      const n = c.write(chunk, 0, Math.min(chunk.length, size - at));
      if (n === 0) return;
      at += n;
    }
    c.close();
  };
  c.onConnected = pump;
  c.onWritable = pump;
  const from = performance.now();
  clock.endBatch();
  const took = performance.now() - from;
  if (got !== size || !ended) throw new Error(`${got} of ${size} bytes arrived`);
  return size / took / 1000;
}

/** Connections a second, each with a byte both ways. */
function connections(count: number): number {
  const { clock, a, b } = backToBack(Accept.ALL);
  const one = new Uint8Array(1);
  let closed = 0;
  b.listen({
    port: 80,
    onConnection: (c) => {
      c.onReadable = () => {
        c.read(one);
        c.write(one);
      };
      c.onEnd = () => c.close();
    },
  });
  const from = performance.now();
  for (let i = 0; i < count; i++) {
    const c = a.connect({ local: LOCAL, remote: REMOTE, remotePort: 80 });
    c.onConnected = () => c.write(one);
    c.onReadable = () => {
      c.read(one);
      c.close();
    };
    c.onClosed = () => closed++;
    clock.endBatch();
  }
  const took = performance.now() - from;
  if (closed !== count) throw new Error(`${closed} of ${count} connections were closed`);
  return (count / took) * 1000;
}

/** Bytes that each end of an idle established connection occupies, of `count`: so many that compiled code does not count. */
function idleMemory(count: number): number {
  const { clock, a, b } = backToBack(Accept.ALL);
  b.listen({ port: 80, onConnection: () => {} });
  const open = (n: number) => {
    for (let i = 0; i < n; i++) {
      a.connect({ local: LOCAL, remote: REMOTE, remotePort: 80 });
      clock.endBatch();
    }
  };
  open(2000);
  globalThis.gc?.();
  const before = process.memoryUsage();
  open(count);
  globalThis.gc?.();
  const after = process.memoryUsage();
  keep(a.connections + b.connections);
  return (
    (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / (2 * count)
  );
}

function best(measure: () => number): number {
  let value = 0;
  for (let i = 0; i < 5; i++) value = Math.max(value, measure());
  return value;
}

function own(id: string, unit: string, measure: () => number): Bench {
  return {
    id,
    unit,
    async measure(): Promise<Measurement[]> {
      return [{ id, unit, value: measure(), bytesPerOp: null }];
    },
  };
}

const TIMESTAMPS = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
const SACK = [1, 1, 5, 18, 1, 2, 3, 4, 5, 6, 7, 8, 2, 2, 3, 4, 3, 6, 7, 8];

export const benches: readonly Bench[] = [
  parsing('vtcp.segment.parse', []),
  parsing('vtcp.segment.parse.options', [...TIMESTAMPS, ...SACK]),
  building(),
  ...cookies(),
  own('vtcp.transfer.memory', 'MB/s', () => best(() => transfer(Accept.CHECKSUM, 400e6))),
  own('vtcp.transfer.memory.tso', 'MB/s', () => best(() => transfer(Accept.ALL, 2000e6))),
  own('vtcp.connections', 'conn/s', () => best(() => connections(40_000))),
  own('vtcp.connection.memory', 'B', () => idleMemory(8000)),
];
