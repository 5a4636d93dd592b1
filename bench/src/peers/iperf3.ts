/**
 * The server's side of iperf3's protocol (version 3.1 and later) on a TCP stack of ours, so that the kernel's iperf3 client
 * measures through a device of ours. One test at a time.
 *
 * On the control connection the client sends a cookie of 37 bytes, which every data connection repeats. States are single
 * bytes; parameters and results are JSON behind its length in 32 bits.
 */

import { get32, put32 } from '@pktkit/core';
import type { TcpConnection, TcpStack } from '@pktkit/vtcp';

const COOKIE = 37;
const TEST_START = 1;
const TEST_RUNNING = 2;
const TEST_END = 4;
const PARAM_EXCHANGE = 9;
const CREATE_STREAMS = 10;
const EXCHANGE_RESULTS = 13;
const DISPLAY_RESULTS = 14;

interface Parameters {
  parallel?: number;
  /** The server sends. */
  reverse?: boolean;
}

interface Stream {
  connection: TcpConnection;
  bytes: number;
}

export class Iperf3Server {
  /** Bytes that data connections have brought or taken since the start. */
  bytes = 0;
  readonly #listener: { close(): void };
  readonly #block: Uint8Array = new Uint8Array(1 << 17);
  #control: TcpConnection | null = null;
  #cookie = '';
  #reverse = false;
  #expected = 0;
  #streams: Stream[] = [];
  #running = false;
  /** Control bytes that have not made a whole message yet, and who wants the next one. */
  #pending: Uint8Array = new Uint8Array(0);
  #next: (() => boolean) | null = null;

  constructor(stack: TcpStack, port = 5201) {
    this.#listener = stack.listen({
      port,
      onConnection: (connection) => this.#onConnection(connection),
    });
  }

  close(): void {
    this.#listener.close();
  }

  #onConnection(connection: TcpConnection): void {
    let cookie: Uint8Array = new Uint8Array(0);
    connection.onReadable = () => {
      cookie = concat(cookie, take(connection, COOKIE - cookie.length));
      if (cookie.length < COOKIE) return;
      const text = String.fromCharCode(...cookie);
      if (this.#control === null) this.#onControl(connection, text);
      else if (text === this.#cookie) this.#onStream(connection);
      else connection.abort();
    };
    // A client that broke off leaves the server ready for the next.
    connection.onClosed = () => {
      if (connection === this.#control) this.#reset();
    };
    connection.onEnd = () => connection.close();
  }

  #onControl(control: TcpConnection, cookie: string): void {
    this.#control = control;
    this.#cookie = cookie;
    this.#pending = new Uint8Array(0);
    control.onReadable = () => {
      this.#pending = concat(this.#pending, take(control, Number.POSITIVE_INFINITY));
      while (this.#next?.()) {}
    };
    this.#state(PARAM_EXCHANGE);
    this.#next = () => {
      const parameters = this.#json() as Parameters | null;
      if (parameters === null) return false;
      this.#reverse = parameters.reverse === true;
      this.#expected = parameters.parallel ?? 1;
      this.#next = null;
      this.#state(CREATE_STREAMS);
      return false;
    };
    control.onReadable(control);
  }

  #onStream(connection: TcpConnection): void {
    const stream: Stream = { connection, bytes: 0 };
    this.#streams.push(stream);
    const count = (n: number) => {
      stream.bytes += n;
      this.bytes += n;
    };
    connection.onReadable = () => {
      const { readable } = connection;
      connection.consume(readable);
      count(readable);
    };
    connection.onReadable(connection);
    const fill = () => {
      while (this.#running) {
        const n = connection.write(this.#block);
        count(n);
        if (n < this.#block.length) return;
      }
    };
    connection.onWritable = fill;
    if (this.#streams.length < this.#expected) return;
    this.#running = true;
    this.#state(TEST_START);
    this.#state(TEST_RUNNING);
    if (this.#reverse)
      for (const each of this.#streams) each.connection.onWritable(each.connection);
    this.#next = () => this.#onTestEnd();
  }

  #onTestEnd(): boolean {
    if (this.#pending.length < 1) return false;
    const state = this.#pending[0];
    this.#pending = this.#pending.subarray(1);
    if (state !== TEST_END) {
      this.#control?.abort();
      return false;
    }
    this.#running = false;
    // The client reads whole blocks and would wait for the rest of the last one.
    if (this.#reverse) for (const { connection } of this.#streams) connection.shutdown();
    this.#state(EXCHANGE_RESULTS);
    this.#next = () => {
      const results = this.#json() as { streams?: Array<{ id: number }> } | null;
      if (results === null) return false;
      this.#next = null;
      this.#send(
        new TextEncoder().encode(
          JSON.stringify({
            cpu_util_total: 0,
            cpu_util_user: 0,
            cpu_util_system: 0,
            sender_has_retransmits: 0,
            streams: this.#streams.map(({ bytes }, i) => ({
              id: results.streams?.[i]?.id ?? i + 1,
              bytes,
              retransmits: 0,
              jitter: 0,
              errors: 0,
              packets: 0,
              start_time: 0,
              end_time: 0,
            })),
          }),
        ),
      );
      this.#state(DISPLAY_RESULTS);
      return false;
    };
    return true;
  }

  #json(): unknown {
    if (this.#pending.length < 4) return null;
    const length = get32(this.#pending, 0);
    if (this.#pending.length < 4 + length) return null;
    const text = new TextDecoder().decode(this.#pending.subarray(4, 4 + length));
    this.#pending = this.#pending.subarray(4 + length);
    return JSON.parse(text);
  }

  #send(json: Uint8Array): void {
    const head = new Uint8Array(4);
    put32(head, 0, json.length);
    this.#control?.write(concat(head, json));
  }

  #state(state: number): void {
    this.#control?.write(Uint8Array.of(state));
  }

  #reset(): void {
    this.#running = false;
    for (const { connection } of this.#streams) connection.close();
    this.#streams = [];
    this.#control = null;
    this.#next = null;
  }
}

function take(connection: TcpConnection, most: number): Uint8Array {
  const bytes = new Uint8Array(Math.min(most, connection.readable));
  connection.read(bytes);
  return bytes;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
