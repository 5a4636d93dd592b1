import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Cleanup } from '../src/lifetime.ts';
import { formatBytes, formatRate, makeReport, row } from '../src/report.ts';

function sink(isTTY: boolean) {
  let text = '';
  const out = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return { out: Object.assign(out, { isTTY, columns: 20 }), read: () => text };
}

describe('report', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('rewrites the status line of a terminal and never lets it wrap', () => {
    const { out, read } = sink(true);
    const report = makeReport({ json: false, out });
    report.status('a status line that is too long');
    report.status('b');
    report.event('x', 'an event');
    report.status('c');
    report.end();
    report.end();
    expect(read()).toBe(
      '\r\u001b[2Ka status line that \r\u001b[2Kb\r\u001b[2Kan event\n\r\u001b[2Kc\n',
    );
  });

  it('writes the status to a file only now and then', () => {
    const { out, read } = sink(false);
    const report = makeReport({ json: false, out });
    for (let second = 0; second < 25; second++) {
      report.status(`s${second}`);
      vi.advanceTimersByTime(1000);
    }
    expect(read()).toBe('s0\ns10\ns20\n');
  });

  it('writes one object a line for machines', () => {
    const { out, read } = sink(true);
    const report = makeReport({ json: true, out });
    report.event('lease', 'for people', { address: '10.0.2.15' });
    report.status('for people', { ports: 2 });
    const lines = read()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { event: 'lease', address: '10.0.2.15' },
      { event: 'status', ports: 2 },
    ]);
    expect(Number.isNaN(Date.parse(lines[0].time))).toBe(false);
  });

  it('formats', () => {
    expect(formatBytes(0)).toBe('0 B');
    expect(formatBytes(64 * 2 ** 20)).toBe('64 MiB');
    expect(formatBytes(1536)).toBe('1.5 KiB');
    expect(formatRate(5e6, 100)).toBe('50.0 MB/s');
    expect(row('lease', 'x')).toBe('  lease      x');
  });
});

describe('cleanup', () => {
  it('runs once, in the opposite order, and past errors', async () => {
    const done: string[] = [];
    const cleanup = new Cleanup();
    cleanup.add(() => done.push('a'));
    cleanup.add(() => {
      throw new Error('b');
    });
    cleanup.add(async () => done.push('c'));
    await expect(cleanup.run()).rejects.toThrow(/closing failed/);
    await cleanup.run();
    expect(done).toEqual(['c', 'a']);
  });
});
