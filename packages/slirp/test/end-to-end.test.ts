import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get, request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GATEWAY4, GATEWAY6, type Lan, lan } from './lan.ts';

const SIZE = 64 << 20;
const CHUNK = randomBytes(1 << 20);

/** The 64 MiB that travel: one random MiB, numbered. */
function* content(): Generator<Buffer> {
  for (let i = 0; i < SIZE / CHUNK.length; i++) {
    const chunk = Buffer.from(CHUNK);
    chunk.writeUInt32BE(i);
    yield chunk;
  }
}

function hashOfContent(): string {
  const hash = createHash('sha256');
  for (const chunk of content()) hash.update(chunk);
  return hash.digest('hex');
}

async function hashOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest('hex');
}

describe('a guest and a real HTTP server', () => {
  const server = createServer((req, res) => {
    if (req.url === '/download') {
      void pipeline(Readable.from(content()), res).catch(() => {});
    } else if (req.url === '/upload') {
      void hashOf(req).then((hash) => res.end(hash));
    } else {
      res.end('hello');
    }
  });
  let port = 0;
  let net: Lan;

  beforeEach(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
    net = lan();
  });

  afterEach(async () => {
    net.close();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  function fetchText(path: string, agent = net.guest.agent()): Promise<string> {
    return new Promise((resolve, reject) => {
      get({ host: GATEWAY4, port, path, agent }, (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (part: string) => {
          text += part;
        });
        res.on('end', () => resolve(text));
        res.on('error', reject);
      }).on('error', reject);
    });
  }

  it('downloads 64 MiB unharmed', async () => {
    const agent = net.guest.agent();
    const hash = await new Promise<string>((resolve, reject) => {
      get({ host: GATEWAY4, port, path: '/download', agent }, (res) => {
        hashOf(res).then(resolve, reject);
      }).on('error', reject);
    });
    expect(hash).toBe(hashOfContent());
  });

  it('uploads 64 MiB unharmed', async () => {
    const agent = net.guest.agent();
    const hash = await new Promise<string>((resolve, reject) => {
      const upload = request({ host: GATEWAY4, port, path: '/upload', method: 'POST', agent });
      upload.on('response', (res) => {
        res.setEncoding('utf8');
        let text = '';
        res.on('data', (part: string) => {
          text += part;
        });
        res.on('end', () => resolve(text));
      });
      upload.on('error', reject);
      pipeline(Readable.from(content()), upload).catch(reject);
    });
    expect(hash).toBe(hashOfContent());
  });

  it('serves 1,000 connections one after the other and leaves nothing behind', async () => {
    for (let i = 0; i < 1000; i++) expect(await fetchText('/')).toBe('hello');
    expect(net.slirp.stats.tcpOpened).toBe(1000);
    await expect.poll(() => net.slirp.stats.tcpFlows).toBe(0);
  });

  it('serves 200 connections at the same time', async () => {
    const agent = net.guest.agent({ maxSockets: 200 });
    const texts = await Promise.all(Array.from({ length: 200 }, () => fetchText('/', agent)));
    expect(texts.every((text) => text === 'hello')).toBe(true);
    await expect.poll(() => net.slirp.stats.tcpFlows).toBe(0);
  });

  it('reaches the host by IPv6 through the same code', async () => {
    const six = createServer((_req, res) => res.end('six'));
    six.listen(0, '::1');
    await once(six, 'listening');
    const agent = net.guest.agent();
    const sixPort = (six.address() as { port: number }).port;
    const text = await new Promise<string>((resolve, reject) => {
      get({ host: GATEWAY6, port: sixPort, agent }, (res) => {
        res.setEncoding('utf8');
        res.on('data', resolve);
      }).on('error', reject);
    });
    expect(text).toBe('six');
    six.close();
  });
});
