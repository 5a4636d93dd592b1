/**
 * A real HTTP server on the kernel's sockets, for real downloads and uploads. Prints `listening` and then works until it
 * is stopped. Arguments: the port.
 *
 *     GET /file?size=N     N bytes that are the same each time
 *     GET /hash?size=N     their SHA-256
 *     PUT /upload          answers with the SHA-256 of what it got
 */

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

const BLOCK = 1 << 20;
/** Pseudo-random (xorshift32), so that nothing on the way could compress or guess it. */
const block = new Uint8Array(BLOCK);
for (let i = 0, x = 0x9e3779b9; i < BLOCK; i++) {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  block[i] = x;
}

/** The block number `index`: no two are alike, so that one delivered twice or in the wrong place changes the hash. */
function blockAt(index: number): Uint8Array {
  const copy = block.slice();
  new DataView(copy.buffer).setUint32(0, index);
  return copy;
}

function* content(size: number): Generator<Uint8Array> {
  for (let at = 0, index = 0; at < size; at += BLOCK, index++) {
    const bytes = blockAt(index);
    yield size - at < BLOCK ? bytes.subarray(0, size - at) : bytes;
  }
}

async function sendFile(response: ServerResponse, size: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
  for (const bytes of content(size)) {
    if (response.destroyed) return;
    if (!response.write(bytes)) {
      await new Promise<void>((resolve) => {
        const go = () => {
          response.removeListener('drain', go);
          response.removeListener('close', go);
          resolve();
        };
        response.on('drain', go);
        response.on('close', go);
      });
    }
  }
  response.end();
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://server');
  const size = Number(url.searchParams.get('size') ?? 0);
  if (url.pathname === '/file') await sendFile(response, size);
  else if (url.pathname === '/hash') {
    const hash = createHash('sha256');
    for (const bytes of content(size)) hash.update(bytes);
    response.end(hash.digest('hex'));
  } else if (url.pathname === '/upload') {
    const hash = createHash('sha256');
    for await (const chunk of request) hash.update(chunk as Buffer);
    response.end(hash.digest('hex'));
  } else {
    response.writeHead(404).end();
  }
}

const server = createServer((request, response) => {
  handle(request, response).catch(() => response.destroy());
});
server.listen({ host: '::', port: Number(process.argv[2]) }, () => console.log('listening'));
