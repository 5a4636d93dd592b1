/**
 * What a bench is and how it is measured. An area file `bench/src/AREA.ts` exports `benches`; each area runs in a process of
 * its own, so that one area's shapes do not make another's call sites polymorphic.
 */

import { createHash } from 'node:crypto';
import { CALIBRATION } from './reference.ts';

export interface Measurement {
  /** `id`, or `id@peer` for a program measured beside ours. */
  id: string;
  value: number;
  unit: string;
  /** Heap and array bytes allocated per operation in steady state; null where that has no meaning. */
  bytesPerOp: number | null;
}

/** One operation, so often that its time can be told. The harness chooses `n`. */
export interface LoopBench {
  id: string;
  /** `ns` or `µs` per operation. */
  unit: 'ns' | 'µs';
  run(n: number): void;
}

/** Anything else: throughput, latency, memory. It measures by itself, and may add peers (`id@peer`). */
export interface OwnBench {
  id: string;
  unit: string;
  measure(): Promise<Measurement[]>;
}

export type Bench = LoopBench | OwnBench;

/** An area's `benches`: a list, or a function that makes it. */
export type Benches = readonly Bench[] | (() => readonly Bench[] | Promise<readonly Bench[]>);

export interface AreaResult {
  /** How much slower this machine is, now, than the one of the reference: 1 is the same. */
  scale: number;
  /** The loops that tell so, each with its own factor. */
  factors: Record<string, number>;
  measurements: Measurement[];
}

/** Many short rounds: most of them fall between two moments in which others want the processor. */
const ROUNDS = 61;
/** Nanoseconds of one round of one bench. */
const ROUND = 4e6;
const WARM_UP = 200e6;

/** Keeps results alive, so that the compiler cannot drop the work. */
let sink = 0;
export function keep(value: number): void {
  sink = (sink + value) | 0;
}
export function kept(): number {
  return sink;
}

export async function runArea(benches: readonly Bench[]): Promise<AreaResult> {
  const loops = benches.filter((bench): bench is LoopBench => 'run' in bench);
  const calibration = calibrationLoops();
  const all = [...calibration, ...loops].map((bench) => ({
    bench,
    n: warmUp(bench),
    times: [] as number[],
  }));
  // Interleaved: what disturbs the machine for a while disturbs all of them.
  for (let round = 0; round < ROUNDS; round++) {
    for (const { bench, n, times } of all) times.push(time(bench, n));
  }
  const results = new Map(all.map(({ bench, times }) => [bench.id, quartile(times)]));
  const factors: Record<string, number> = {};
  for (const { id } of calibration) {
    factors[id] = (results.get(id) as number) / CALIBRATION[id as keyof typeof CALIBRATION];
  }
  const scale = median(Object.values(factors));
  const measurements: Measurement[] = loops.map((bench) => ({
    id: bench.id,
    unit: bench.unit,
    value: (results.get(bench.id) as number) / (bench.unit === 'µs' ? 1000 : 1),
    bytesPerOp: bytesPerOp(bench),
  }));
  for (const bench of benches) {
    if ('measure' in bench) measurements.push(...(await bench.measure()));
  }
  return { scale, factors, measurements };
}

/** Bytes per operation: heap growth over a run that is too short for a collection. */
function bytesPerOp(bench: LoopBench): number {
  const used = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  // The young generation begins with 1 MB: this stays below it up to 250 bytes an operation.
  const n = 4000;
  const runs: number[] = [];
  for (let i = 0; i < 15; i++) {
    globalThis.gc?.();
    const before = used();
    bench.run(n);
    runs.push((used() - before) / n);
  }
  return Math.max(0, median(runs));
}

/** Runs the bench until it is compiled; gives the `n` that fills a round. */
function warmUp(bench: LoopBench): number {
  let n = 1;
  let spent = 0;
  for (;;) {
    const elapsed = time(bench, n) * n;
    spent += elapsed;
    if (elapsed < ROUND / 4) n *= 2;
    else if (spent > WARM_UP) return Math.max(1, Math.round((n * ROUND) / elapsed));
  }
}

/** Nanoseconds per operation. */
function time(bench: LoopBench, n: number): number {
  const start = process.hrtime.bigint();
  bench.run(n);
  return Number(process.hrtime.bigint() - start) / n;
}

/** The lower quartile: on a machine that others use too the median moves with them, the calibration loops' with it. */
function quartile(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 2];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The loops that the reference machine was calibrated with. */
function calibrationLoops(): LoopBench[] {
  const src = new Uint8Array(1500).fill(7);
  const dst = new Uint8Array(2048);
  const map = new Map<number, number>();
  const keys = new Uint32Array(10_000);
  for (let i = 0; i < keys.length; i++) {
    keys[i] = Math.imul(i + 1, 0x9e3779b1);
    map.set(keys[i], i);
  }
  const message = new Uint8Array(64);
  return [
    {
      id: 'copy1500',
      unit: 'ns',
      run(n) {
        for (let i = 0; i < n; i++) dst.set(src, 14);
        keep(dst[20]);
      },
    },
    {
      id: 'mapGet',
      unit: 'ns',
      run(n) {
        let total = 0;
        let at = 0;
        for (let i = 0; i < n; i++) {
          total += map.get(keys[at]) as number;
          // Not in the order of insertion, which would walk the map's memory in sequence.
          at = (at + 3331) % 10_000;
        }
        keep(total);
      },
    },
    {
      id: 'clockRead',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) total += performance.now();
        keep(total);
      },
    },
    {
      id: 'blake2s',
      unit: 'ns',
      run(n) {
        for (let i = 0; i < n; i++) keep(createHash('blake2s256').update(message).digest()[0]);
      },
    },
  ];
}
