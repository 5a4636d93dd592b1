/** `pktkit demo`: a whole virtual LAN in one process, and a real download through it. */

import { createHash, randomFillSync } from 'node:crypto';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { attach, VClient } from '@pktkit/vclient';
import type { ArgsDef } from 'citty';
import { connectTap, DEFAULT_SUBNET4, DEFAULT_SUBNET6 } from './lan.ts';
import { Cleanup, untilInterrupted } from './lifetime.ts';
import { parseSize, parseSubnet, readOptions } from './options.ts';
import { PcapFile } from './pcap-file.ts';
import { formatBytes, formatRate, makeReport, type Report, row } from './report.ts';
import { VirtualLan } from './virtual-lan.ts';

export const demoArgs: ArgsDef = {
  tap: {
    type: 'string',
    valueHint: 'NAME',
    description: "Let the host's kernel be the client, through this TAP interface (Linux, root)",
  },
  size: { type: 'string', valueHint: 'SIZE', description: 'How much to download (64MiB)' },
  pcap: { type: 'string', valueHint: 'FILE', description: 'The capture (demo.pcapng)' },
  json: { type: 'boolean', default: false, description: 'One JSON object a line' },
};

/** Milliseconds between two lines of progress. */
const PROGRESS_EVERY = 250;

export async function runDemo(rawArgs: string[]): Promise<void> {
  const values = readOptions(demoArgs, rawArgs);
  const size = parseSize('size', values.text('size') ?? '64MiB');
  const tapName = values.text('tap');
  const report = makeReport({ json: values.flag('json') });
  const stop = untilInterrupted();
  const cleanup = new Cleanup();
  try {
    report.event('start', 'A virtual LAN in this process, and a download through it.\n');
    const server = await startServer(size);
    cleanup.add(server.close);
    const { port, sha256 } = server;
    const what = `an HTTP server on 127.0.0.1:${port} with ${formatBytes(size)} of random bytes`;
    report.event('server', row('host', what), { port, size, sha256 });

    const pcap = await PcapFile.create(values.text('pcap') ?? 'demo.pcapng');
    cleanup.add(() => pcap.close());
    const subnet4 = parseSubnet('subnet', DEFAULT_SUBNET4);
    const subnet6 = parseSubnet('subnet', DEFAULT_SUBNET6);
    const lan = new VirtualLan({
      subnet4,
      subnet6,
      pcap,
      // The gateway's address stands for the host's loopback, and only for the server's port.
      hostLoopback: true,
      allow: (flow) => flow.target.isLoopback && flow.destinationPort === port,
    });
    cleanup.add(() => lan.close());
    const networks = `${subnet4.network} and ${subnet6.network}`;
    report.event('network', row('network', `${networks}: switch, DHCP, DNS, user-mode NAT`), {
      network4: subnet4.network.toString(),
      network6: subnet6.network.toString(),
      gateway: subnet4.addr.toString(),
    });

    const gateway = subnet4.addr.toString();
    const client =
      tapName === undefined
        ? await joinVirtually(lan, report, cleanup, stop)
        : joinByTap(lan, tapName, report, cleanup);
    report.event('request', row('request', `GET http://${gateway}:${port}/`), {
      url: `http://${gateway}:${port}/`,
    });
    const started = performance.now();
    const got = await download({ ...client, host: gateway, port, signal: stop }, size, report);
    const took = performance.now() - started;
    report.end();

    const rate = formatRate(size, took);
    const seconds = (took / 1000).toFixed(2);
    report.event('done', row('done', `${formatBytes(size)} in ${seconds} s: ${rate}`), {
      size,
      milliseconds: Math.round(took),
      megabytesPerSecond: size / 1e3 / took,
    });
    if (got !== sha256) {
      throw new Error(`the bytes differ: sent ${sha256}, received ${got}`);
    }
    report.event('hash', row('SHA-256', `${got}: equal`), { sha256: got, equal: true });
    await cleanup.run();
    report.event('capture', row('capture', `${pcap.path}, ${pcap.size}: open it in Wireshark`), {
      file: pcap.path,
    });
  } finally {
    report.end();
    await cleanup.run();
  }
}

/** How the request leaves: through a virtual host's sockets, or from an address of the kernel. */
interface Client {
  agent?: ReturnType<VClient['agent']>;
  localAddress?: string;
}

async function joinVirtually(
  lan: VirtualLan,
  report: Report,
  cleanup: Cleanup,
  signal: AbortSignal,
): Promise<Client> {
  const client = new VClient();
  const asked = performance.now();
  const card = attach(client, lan.hub, { dhcp: { hostname: 'demo' } });
  cleanup.add(() => {
    card.detach();
    client.close();
  });
  const mac = card.adapter.mac.toString();
  report.event('client', row('client', `${mac} asks for an address`), { mac });
  const { lease } = await card.ready({ signal });
  if (lease === null) throw new Error('the adapter is ready, but has no lease');
  const took = Math.round(performance.now() - asked);
  const { address, server, routers, dns } = lease;
  report.event(
    'lease',
    row('lease', `${address} from ${server}, router ${routers}, DNS ${dns} (${took} ms)`),
    {
      address: address.toString(),
      server: server.toString(),
      routers: routers.map(String),
      dns: dns.map(String),
      milliseconds: took,
    },
  );
  report.event(
    'path',
    row('path', 'client > TCP > adapter > switch > adapter > user-mode NAT > socket > server'),
  );
  return { agent: client.agent() };
}

/** The kernel's end of the TAP gets a fixed address of the LAN: nothing of the host's own configuration is touched. */
function joinByTap(lan: VirtualLan, name: string, report: Report, cleanup: Cleanup): Client {
  const tap = connectTap(lan, name, undefined, undefined);
  cleanup.add(() => tap.close());
  const own = parseSubnet('subnet', '10.0.2.100/24');
  tap.addAddress(own);
  report.event('tap', row('client', `the kernel, with ${own} on ${tap.name}`), {
    name: tap.name,
    address: own.toString(),
  });
  const path = `kernel TCP > ${tap.name} > switch > adapter > user-mode NAT > socket > server`;
  report.event('path', row('path', path));
  return { localAddress: own.addr.toString() };
}

/** Downloads and hashes; shows progress. */
async function download(
  target: Client & { host: string; port: number; signal: AbortSignal },
  size: number,
  report: Report,
): Promise<string> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ ...target, path: '/' }, resolve)
      .on('error', reject)
      .end();
  });
  const hash = createHash('sha256');
  const started = performance.now();
  let received = 0;
  let shown = started;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    hash.update(chunk);
    received += chunk.length;
    const now = performance.now();
    if (now - shown < PROGRESS_EVERY) continue;
    shown = now;
    const percent = Math.floor((received / size) * 100);
    const rate = formatRate(received, now - started);
    report.status(row('received', `${formatBytes(received)} (${percent} %), ${rate}`), {
      received,
      percent,
    });
  }
  return hash.digest('hex');
}

interface DemoServer {
  port: number;
  sha256: string;
  close(): Promise<void>;
}

const BLOCK = 1 << 20;

/** A real server on a real socket of the host. Its content is random, no two blocks alike. */
async function startServer(size: number): Promise<DemoServer> {
  const random = randomFillSync(new Uint8Array(BLOCK));
  const blockAt = (at: number): Uint8Array => {
    const block = random.slice(0, Math.min(BLOCK, size - at));
    for (let i = 0, rest = at / BLOCK; i < Math.min(4, block.length); i++, rest >>>= 8) {
      block[i] = rest;
    }
    return block;
  };
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += BLOCK) hash.update(blockAt(at));

  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
    let at = 0;
    const more = () => {
      while (at < size) {
        const block = blockAt(at);
        at += block.length;
        if (!response.write(block)) return;
      }
      response.end();
    };
    response.on('drain', more);
    more();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    sha256: hash.digest('hex'),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
