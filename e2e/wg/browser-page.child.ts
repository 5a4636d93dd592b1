/**
 * Runs in the browser: an engine on a WebSocket, whose other end puts the datagrams on UDP. What it saw goes back by POST.
 */

import { Packet, random32, systemClock } from '@pktkit/core';
import { type CryptoProvider, nobleProvider, wasmProvider } from '@pktkit/crypto';
import {
  Engine,
  formatKey,
  generatePrivateKey,
  type Link,
  NO_ENDPOINT,
  WireGuard,
} from '@pktkit/wg';

/** What a browser has and Node's types do not name. */
interface Socket {
  binaryType: string;
  send(bytes: Uint8Array): void;
  close(): void;
  onopen: () => void;
  onmessage: (event: { data: ArrayBuffer }) => void;
}
declare const WebSocket: new (url: string) => Socket;
declare const location: { host: string; search: string };

const query = new URLSearchParams(location.search);
const tier = query.get('tier') as string;
const COUNT = 300;
// Keys live for a second, so that the tunnel renews them under traffic.
const testTimings = { rekeyAfterTime: 1000, rekeyTimeout: 300, rejectAfterTime: 5000 };

type Fields = Record<string, number>;

/** One engine and the WebSocket that it speaks through; the socket is the one endpoint there is. */
class Host {
  readonly engine: Engine;
  readonly device: WireGuard;
  readonly privateKey: Uint8Array;
  /** Sees each datagram before the engine does. */
  before: (bytes: Uint8Array) => void = () => {};
  #socket: Socket | null = null;
  #answered: (bytes: Uint8Array) => void = () => {};

  constructor(provider: CryptoProvider, privateKey: Uint8Array) {
    this.privateKey = privateKey;
    const link: Link = {
      send: (buf, off, len) => this.#socket?.send(buf.slice(off, off + len)),
      describe: (_endpoint, out, off) => {
        out.fill(0, off, off + 6);
        return 6;
      },
      format: () => location.host,
      intern: () => NO_ENDPOINT,
      retain: () => {},
      release: () => {},
    };
    this.engine = new Engine({ clock: systemClock, provider, link, testTimings });
    this.device = new WireGuard(this.engine, { privateKey });
    this.device.setHandler((packet) => this.#answered(packet.bytes.slice()));
  }

  /** Opens a connection; one that was there before is closed. */
  async connect(): Promise<void> {
    const socket = new WebSocket(`ws://${location.host}/`);
    socket.binaryType = 'arraybuffer';
    await new Promise<void>((resolve) => {
      socket.onopen = resolve;
    });
    socket.onmessage = ({ data }) => {
      const bytes = new Uint8Array(data);
      this.before(bytes);
      this.receive(bytes);
    };
    this.#socket?.close();
    this.#socket = socket;
  }

  receive(bytes: Uint8Array): void {
    systemClock.beginBatch();
    this.engine.handleDatagram(bytes, 0, bytes.length, 0);
    systemClock.endBatch();
  }

  /** Sends a packet and waits for its echo; false when what comes back is not it. */
  async echo(len: number): Promise<boolean> {
    const bytes = packetOf(len);
    const answer = new Promise<Uint8Array>((resolve) => {
      this.#answered = resolve;
    });
    this.device.send(Packet.of(bytes));
    const got = await answer;
    // The same, with source and destination exchanged.
    const same = got.subarray(20).every((byte, at) => byte === bytes[at + 20]);
    return got.length === bytes.length && same;
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

async function serverStats(): Promise<Fields> {
  return (await (await fetch('/stats')).json()) as Fields;
}

/** Names of the checks that held; throws at the first that does not. */
async function run(): Promise<Record<string, unknown>> {
  const provider = tier === 'wasm' ? await wasmProvider() : nobleProvider();
  const host = new Host(provider, generatePrivateKey());
  await host.connect();
  const publicKey = encodeURIComponent(formatKey(host.device.identity.publicKey));
  const server = (await (await fetch(`/key?${publicKey}`)).json()) as Record<string, string>;
  const peerOptions = {
    publicKey: server.publicKey,
    presharedKey: server.presharedKey,
    endpoint: 0,
  };
  const allowedIps = ['10.0.0.1/32'];
  host.device.addPeer({ ...peerOptions, allowedIps });
  const { stats } = host.engine;

  // Packets of every size, over many rekeys.
  const sizes = [28, 29, 60, 500, 1419, 1420];
  let right = 0;
  for (let i = 0; i < COUNT; i++) {
    if (await host.echo(sizes[i % sizes.length])) right++;
    await pause(5);
  }
  const [peer] = host.device.peers.values();
  const result = { right, count: COUNT, lost: peer.stats.lost, handshakes: stats.handshakes };
  check(stats.dropBadTag + stats.dropReplay === 0, 'messages were dropped');

  // A forgery before each message and a replay after it: neither is heard, both are counted.
  let forged = 0;
  host.before = (bytes) => {
    if (bytes[0] !== 4) return;
    const bad = bytes.slice();
    bad[16] ^= 1;
    // A counter far ahead, which must not move the window.
    bad[12] = 7;
    host.receive(bad);
    forged++;
    const again = bytes.slice();
    queueMicrotask(() => host.receive(again));
  };
  for (let i = 0; i < 20; i++) check(await host.echo(200), 'an echo beside forgeries is wrong');
  host.before = () => {};
  await pause(0);
  check(stats.dropBadTag === forged, `${stats.dropBadTag} of ${forged} forgeries were dropped`);
  check(stats.dropReplay === forged, `${stats.dropReplay} of ${forged} replays were dropped`);

  // Bytes that are no messages.
  for (let len = 0; len < 200; len++) {
    for (const type of [0, 1, 2, 3, 4, 5, 255]) {
      const bytes = new Uint8Array(len).map(() => random32() & 255);
      bytes.set([type, 0, 0, 0].slice(0, len));
      host.receive(bytes);
    }
  }
  check(await host.echo(300), 'an echo after garbage is wrong');

  // Another connection is another UDP port to the server: it follows.
  const { roamed } = await serverStats();
  await host.connect();
  check(await host.echo(400), 'an echo through another connection is wrong');
  check((await serverStats()).roamed > roamed, 'the server has not followed');

  // The page loaded anew: the same key, and nothing else is left.
  const again = new Host(provider, host.privateKey);
  host.device.close();
  await again.connect();
  again.device.addPeer({ ...peerOptions, allowedIps });
  check(await again.echo(500), 'an echo after a new start is wrong');

  // With another pre-shared key, or a key that nobody knows, there is no tunnel.
  const { dropUnknownPeer } = await serverStats();
  const stranger = new Host(provider, generatePrivateKey());
  await stranger.connect();
  const nobody = stranger.device.addPeer({ ...peerOptions, allowedIps });
  nobody.handshake();
  while ((await serverStats()).dropUnknownPeer === dropUnknownPeer) await pause(20);
  check(!nobody.isConnected, 'a stranger is connected');
  const [known] = again.device.peers.values();
  known.setPresharedKey(generatePrivateKey());
  await pause(testTimings.rekeyTimeout);
  known.handshake();
  while (again.engine.stats.dropBadHandshake === 0) await pause(20);
  return { ...result, tier: provider.name };
}

function packetOf(len: number): Uint8Array {
  const bytes = new Uint8Array(len).map(() => random32() & 255);
  bytes.set([0x45, 0, len >>> 8, len & 255, 0, 0, 0, 0, 64, 253, 0, 0]);
  bytes.set([10, 0, 0, 2, 10, 0, 0, 1], 12);
  return bytes;
}

run()
  .catch((error: unknown) => ({ error: error instanceof Error ? `${error.stack}` : String(error) }))
  .then((result) => fetch('/result', { method: 'POST', body: JSON.stringify(result) }));
