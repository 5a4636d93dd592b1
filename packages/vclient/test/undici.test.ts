import { createServer } from 'node:http';
import { connectL3 } from '@pktkit/core';
import { VClient } from '@pktkit/vclient';
import { fetchOver } from '@pktkit/vclient/undici';
import { expect, it } from 'vitest';
import { A4, B4, B6 } from './hosts.ts';

it('fetches through a virtual host, by both families', async () => {
  const a = new VClient({ addrs: [`${A4}/24`, '2001:db8::1/64'] });
  const b = new VClient({ addrs: [`${B4}/24`, `${B6}/64`] });
  connectL3(a, b);
  const http = createServer((request, response) =>
    response.end(`${request.method} ${request.url}`),
  );
  b.listen({ port: 80 }).on('connection', (socket) => http.emit('connection', socket));
  const fetch = fetchOver(a);
  for (const host of [B4, `[${B6}]`]) {
    const response = await fetch(`http://${host}/path`);
    expect(await response.text()).toBe('GET /path');
  }
  await expect(fetch(`http://${B4}:81/`)).rejects.toMatchObject({
    cause: { code: 'ECONNREFUSED' },
  });
  a.close();
  b.close();
});
