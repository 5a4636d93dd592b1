import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bindUdp } from '@pktkit/hostio';
import { requireTools, spawn } from '@pktkit/testkit';
import { formatKey, generatePresharedKey, generatePrivateKey, type WireGuard } from '@pktkit/wg';
import { listen } from '@pktkit/wg/node';
import { build, type Rollup } from 'vite';
import { WebSocketServer } from 'ws';

interface Result {
  error?: string;
  right: number;
  count: number;
  lost: number;
  handshakes: number;
  tier: string;
}

/** The page's program with everything that it imports, in one file. */
async function bundle(): Promise<string> {
  const entry = fileURLToPath(new URL('browser-page.child.ts', import.meta.url));
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    resolve: { conditions: ['@pktkit/source'] },
    build: { write: false, minify: false, lib: { entry, formats: ['es'], fileName: 'page' } },
  });
  const [{ output }] = built as Rollup.RollupOutput[];
  return output[0].code;
}

/** The bridge: each WebSocket message is a datagram to our port, and back. */
function bridge(server: Server, port: number): WebSocketServer {
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => {
    const udp = bindUdp({
      address: '127.0.0.1',
      connect: { address: '127.0.0.1', port },
      onReceive: (buf, off, len) => socket.send(buf.slice(off, off + len)),
    });
    socket.on('message', (data: Buffer) => {
      void udp.then((out) => {
        const bytes = new Uint8Array(data);
        out.send(bytes, 0, bytes.length, out.remote);
      });
    });
    socket.on('close', () => void udp.then((out) => out.close()));
  });
  return sockets;
}

/** Gives every packet back with source and destination exchanged. */
function echo(device: WireGuard): void {
  device.setHandler((packet) => {
    const copy = packet.clone();
    const src = copy.buf.slice(12, 16);
    copy.buf.copyWithin(12, 16, 20);
    copy.buf.set(src, 16);
    device.send(copy);
  });
}

for (const tier of ['wasm', 'noble']) {
  test(`the engine in headless Chromium, through a WebSocket, ${tier}`, async (t) => {
    if (!requireTools(t, ['chromium'], { root: false })) return;
    const code = await bundle();
    const port = await listen({ port: 0, address: '127.0.0.1' });
    const device = port.device({ privateKey: generatePrivateKey() });
    echo(device);
    let finish: (result: Result) => void = () => {};
    const result = new Promise<Result>((resolve) => {
      finish = resolve;
    });
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      if (url.pathname === '/page.js') {
        response.setHeader('content-type', 'text/javascript').end(code);
      } else if (url.pathname === '/key') {
        const publicKey = decodeURIComponent(url.search.slice(1));
        const presharedKey = formatKey(generatePresharedKey());
        device.addPeer({ publicKey, presharedKey, allowedIps: ['10.0.0.2/32'] });
        response.end(JSON.stringify({ publicKey: device.identity.id, presharedKey }));
      } else if (url.pathname === '/stats') {
        response.end(JSON.stringify(port.stats));
      } else if (url.pathname === '/result') {
        let text = '';
        request.on('data', (chunk) => {
          text += chunk;
        });
        request.on('end', () => finish(JSON.parse(text) as Result));
        response.end();
      } else {
        response.setHeader('content-type', 'text/html');
        response.end('<!doctype html><script type="module" src="/page.js"></script>');
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const sockets = bridge(server, port.listenPort);
    const profile = mkdtempSync(join(tmpdir(), 'pktkit-chromium-'));
    const { port: web } = server.address() as AddressInfo;
    const browser = spawn('chromium', [
      ...['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run'],
      ...['--disable-background-networking', '--remote-debugging-port=0'],
      `--user-data-dir=${profile}`,
      `http://127.0.0.1:${web}/?tier=${tier}`,
    ]);
    try {
      const late = new Promise<never>((_resolve, reject) => {
        setTimeout(() => reject(new Error(`no result: ${browser.describe()}`)), 90_000).unref();
      });
      const got = await Promise.race([result, late]);
      assert.equal(got.error, undefined);
      assert.equal(got.tier, tier);
      assert.equal(got.right, got.count);
      assert.equal(got.lost, 0);
      assert(got.handshakes >= 2, `${got.handshakes} handshakes`);
      t.diagnostic(`${got.count} packets each way, ${got.handshakes} handshakes`);
    } finally {
      await browser.stop('SIGKILL');
      sockets.close();
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      server.close();
      port.close();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  });
}
