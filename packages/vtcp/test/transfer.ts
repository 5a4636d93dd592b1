/** One connection that carries so many bytes each way and is closed right after the last write. */

import { IpAddr } from '@pktkit/core';
import type { TcpConnection, TcpInfo, TcpOptions, TcpStackOptions } from '../src/index.ts';
import { type LinkOptions, type Pair, pair } from './link.ts';

export const A: IpAddr = IpAddr.parse('10.0.0.1');
export const B: IpAddr = IpAddr.parse('10.0.0.2');
export const A6: IpAddr = IpAddr.parse('2001:db8::1');
export const B6: IpAddr = IpAddr.parse('2001:db8::2');

/** Bytes that tell their place in the stream: any shift, loss or repetition shows. */
export function pattern(at: number, buf: Uint8Array, len: number): void {
  for (let i = 0; i < len; i++) {
    const n = at + i;
    buf[i] = (n ^ (n >>> 8) ^ (n >>> 16)) & 255;
  }
}

/** Writes `size` patterned bytes as the buffer takes them, then ends the sending side. */
export class Source {
  at = 0;
  readonly size: number;
  readonly #chunk = new Uint8Array(16384);

  constructor(size: number) {
    this.size = size;
  }

  pump(c: TcpConnection): void {
    while (this.at < this.size) {
      const len = Math.min(this.#chunk.length, this.size - this.at);
      pattern(this.at, this.#chunk, len);
      const n = c.write(this.#chunk, 0, len);
      this.at += n;
      if (n < len) return;
    }
    c.shutdown();
  }
}

/** Reads and checks against the pattern. */
export class Sink {
  got = 0;
  intact = true;
  ended = false;

  drain(c: TcpConnection): void {
    for (;;) {
      const view = c.peek();
      if (view.length === 0) return;
      for (let i = 0; i < view.length; i++) {
        const n = this.got + i;
        if (view[i] !== ((n ^ (n >>> 8) ^ (n >>> 16)) & 255)) this.intact = false;
      }
      this.got += view.length;
      c.consume(view.length);
    }
  }
}

export interface TransferOptions {
  link?: LinkOptions;
  seed?: number;
  up: number;
  down?: number;
  v6?: boolean;
  options?: TcpOptions;
  a?: Partial<TcpStackOptions>;
  b?: Partial<TcpStackOptions>;
  /** Virtual milliseconds before it counts as hanging. */
  within?: number;
  prepare?: (pair: Pair) => void;
}

export interface TransferResult {
  upIntact: boolean;
  downIntact: boolean;
  errors: [unknown, unknown];
  /** Virtual milliseconds from SYN until both ends were closed, and until the last byte up was read. */
  took: number;
  dataTook: number;
  /** Connections left on either side (TIME-WAIT not counted). */
  left: number;
  info: TcpInfo;
  pair: Pair;
}

export function runTransfer(t: TransferOptions): TransferResult {
  const p = pair(t.link, t.seed, { defaults: t.options, ...t.a }, { defaults: t.options, ...t.b });
  t.prepare?.(p);
  const up = new Source(t.up);
  const down = new Source(t.down ?? 0);
  const upSink = new Sink();
  const downSink = new Sink();
  let errorA: unknown;
  let errorB: unknown;
  let dataTook = 0;
  p.b.listen({
    port: 80,
    onConnection(c) {
      c.onReadable = () => {
        upSink.drain(c);
        if (upSink.got === t.up) dataTook = p.clock.now;
      };
      c.onEnd = () => {
        upSink.ended = true;
      };
      c.onWritable = () => down.pump(c);
      c.onClosed = (error) => {
        errorB = error;
      };
      down.pump(c);
    },
  });
  const [local, remote] = t.v6 ? [A6, B6] : [A, B];
  const c = p.a.connect({ local, remote, remotePort: 80 });
  c.onConnected = () => up.pump(c);
  c.onWritable = () => up.pump(c);
  c.onReadable = () => downSink.drain(c);
  c.onEnd = () => {
    downSink.ended = true;
  };
  c.onClosed = (error) => {
    errorA = error;
  };
  p.clock.runUntil(() => errorA !== undefined && errorB !== undefined, t.within ?? 3_600_000);
  return {
    upIntact: upSink.intact && upSink.ended && upSink.got === t.up,
    downIntact: downSink.intact && downSink.ended && downSink.got === (t.down ?? 0),
    errors: [errorA, errorB],
    took: p.clock.now,
    dataTook,
    left: p.a.connections + p.b.connections,
    info: c.info,
    pair: p,
  };
}
