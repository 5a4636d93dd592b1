/**
 * Runs in the browser: an engine on a WebSocket, whose other end puts the datagrams on UDP. What it saw goes back by POST.
 */

import { type IpAddr, Packet, random32, systemClock } from '@pktkit/core';
import { nobleProvider, wasmProvider } from '@pktkit/crypto';
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
  onopen: () => void;
  onmessage: (event: { data: ArrayBuffer }) => void;
}
declare const WebSocket: new (url: string) => Socket;
declare const location: { host: string; search: string };

const query = new URLSearchParams(location.search);
const tier = query.get('tier') as string;

async function run(): Promise<Record<string, unknown>> {
  const provider = tier === 'wasm' ? await wasmProvider() : nobleProvider();
  const socket = new WebSocket(`ws://${location.host}/`);
  socket.binaryType = 'arraybuffer';
  await new Promise<void>((resolve) => {
    socket.onopen = resolve;
  });
  // The socket is the one endpoint there is.
  const link: Link = {
    send: (buf, off, len) => socket.send(buf.slice(off, off + len)),
    describe: (_endpoint, out, off) => {
      out.fill(0, off, off + 6);
      return 6;
    },
    format: () => location.host,
    intern: (_address: IpAddr, _port: number) => NO_ENDPOINT,
    retain: () => {},
    release: () => {},
  };
  // Keys live for a second, so that the tunnel renews them under traffic.
  const testTimings = { rekeyAfterTime: 1000, rekeyTimeout: 300, rejectAfterTime: 5000 };
  const engine = new Engine({ clock: systemClock, provider, link, testTimings });
  socket.onmessage = ({ data }) => {
    const bytes = new Uint8Array(data);
    systemClock.beginBatch();
    engine.handleDatagram(bytes, 0, bytes.length, 0);
    systemClock.endBatch();
  };
  const device = new WireGuard(engine, { privateKey: generatePrivateKey() });
  const named = await fetch(`/key?${encodeURIComponent(formatKey(device.identity.publicKey))}`);
  device.addPeer({
    publicKey: await named.text(),
    endpoint: 0,
    allowedIps: ['10.0.0.1/32'],
  });
  let right = 0;
  let answered: (bytes: Uint8Array) => void = () => {};
  device.setHandler((packet) => answered(packet.bytes.slice()));
  const sizes = [28, 29, 60, 500, 1419, 1420];
  const count = 300;
  for (let i = 0; i < count; i++) {
    const bytes = packetOf(sizes[i % sizes.length]);
    const answer = new Promise<Uint8Array>((resolve) => {
      answered = resolve;
    });
    device.send(Packet.of(bytes));
    const got = await answer;
    // The same, with source and destination exchanged.
    if (
      got.length === bytes.length &&
      got.subarray(20).every((byte, at) => byte === bytes[at + 20])
    ) {
      right++;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { stats } = engine;
  return {
    right,
    count,
    stats,
    tier: provider.name,
    lost: [...device.peers.values()][0].stats.lost,
  };
}

function packetOf(len: number): Uint8Array {
  const bytes = new Uint8Array(len).map(() => random32() & 255);
  bytes.set([0x45, 0, len >>> 8, len & 255, 0, 0, 0, 0, 64, 253, 0, 0]);
  bytes.set([10, 0, 0, 2, 10, 0, 0, 1], 12);
  return bytes;
}

run()
  .catch((error: unknown) => ({ error: String(error) }))
  .then((result) => fetch('/result', { method: 'POST', body: JSON.stringify(result) }));
