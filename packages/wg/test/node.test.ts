import { mkdtempSync, rmSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Packet } from '@pktkit/core';
import {
  answerUapi,
  formatConfig,
  formatKey,
  formatKeyHex,
  generatePrivateKey,
  parseConfig,
} from '@pktkit/wg';
import { configQr, configQrPng, listen, type WireGuardPort } from '@pktkit/wg/node';
import { describe, expect, it } from 'vitest';
import { EndpointNames } from '../src/node/names.ts';
import { ipv4, tagOf } from './lab.ts';

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error('the condition did not come about');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function onLoopback<T>(
  io: 'auto' | 'portable',
  body: (a: WireGuardPort, b: WireGuardPort) => Promise<T>,
) {
  const a = await listen({ port: 0, address: '127.0.0.1', io });
  const b = await listen({ port: 0, address: '127.0.0.1', io, lookup: async () => ['127.0.0.1'] });
  try {
    await body(a, b);
  } finally {
    a.close();
    b.close();
  }
}

for (const io of ['auto', 'portable'] as const) {
  describe(`a UDP port, ${io}`, () => {
    it('carries packets by an endpoint with a name, and moves to another port', async () => {
      await onLoopback(io, async (a, b) => {
        const server = a.device({ privateKey: generatePrivateKey() });
        const client = b.device({
          privateKey: generatePrivateKey(),
          peers: [
            {
              publicKey: server.identity.publicKey,
              endpoint: `vpn.example:${a.listenPort}`,
              allowedIps: ['10.0.0.0/24'],
            },
          ],
        });
        server.addPeer({ publicKey: client.identity.publicKey, allowedIps: ['10.0.0.2/32'] });
        const got: number[] = [];
        server.setHandler((packet) => got.push(tagOf(packet)));
        const [peer] = client.peers.values();
        expect(b.endpointName(peer)).toEqual({ host: 'vpn.example', port: a.listenPort });
        client.send(Packet.of(ipv4('10.0.0.2', '10.0.0.1', 64, 1)));
        await until(() => got.length === 1);
        await b.setListenPort(0);
        client.send(Packet.of(ipv4('10.0.0.2', '10.0.0.1', 64, 2)));
        await until(() => got.length === 2);
        expect(a.stats.roamed).toBe(1);
        expect(a.stats.handshakes).toBe(1);
        const back: number[] = [];
        client.setHandler((packet) => back.push(tagOf(packet)));
        server.send(Packet.of(ipv4('10.0.0.1', '10.0.0.2', 64, 3)));
        await until(() => back.length === 1);
      });
    });
  });
}

describe('endpoints by name', () => {
  it('are looked up again with each retry, one address after the other, until one answers', async () => {
    const answers: string[][] = [];
    const port = await listen({ port: 0, address: '127.0.0.1' });
    const device = port.device({ privateKey: generatePrivateKey() });
    try {
      const link = device.link as ConstructorParameters<typeof EndpointNames>[0];
      const names = new EndpointNames(link, async () => {
        const next = answers.shift();
        if (next === undefined) throw new Error('no such name');
        return next;
      });
      const peer = device.addPeer({ publicKey: generatePrivateKey() });
      await expect(names.set(peer, { host: 'vpn.example', port: 9 })).rejects.toThrow(
        'no such name',
      );
      expect(peer.endpointText).toBeNull();
      const seen: Array<string | null> = [];
      for (const found of [
        ['127.0.0.1', '127.0.0.2'],
        ['127.0.0.1', '127.0.0.2'],
        [],
        ['127.0.0.3'],
      ]) {
        answers.push(found);
        names.retry(peer);
        await new Promise((resolve) => setImmediate(resolve));
        seen.push(peer.endpointText);
      }
      expect(seen).toEqual(['127.0.0.2:9', '127.0.0.1:9', '127.0.0.1:9', '127.0.0.3:9']);
      await names.set(peer, { host: '127.0.0.9', port: 4 });
      expect([peer.endpointText, names.nameOf(peer)]).toEqual(['127.0.0.9:4', undefined]);
      // A peer that is gone meanwhile gets nothing.
      answers.push(['127.0.0.1']);
      const late = names.set(peer, { host: 'vpn.example', port: 9 });
      device.removePeer(peer);
      await late;
      expect(peer.endpointText).toBeNull();
      expect(() =>
        port.addPeer(device, { publicKey: generatePrivateKey(), endpoint: 'nonsense' }),
      ).toThrow(/host:port/);
    } finally {
      port.close();
    }
  });
});

describe('endpoints by address', () => {
  it('are refused where the socket sends no such thing, and passed over among those of a name', async () => {
    const found = [['2001:db8::1', '127.0.0.1'], ['2001:db8::1']];
    const lookup = async () => found.shift() as string[];
    const port = await listen({ port: 0, address: '127.0.0.1', lookup });
    try {
      const device = port.device({ privateKey: generatePrivateKey() });
      const publicKey = generatePrivateKey();
      expect(() => port.addPeer(device, { publicKey, endpoint: '[2001:db8::1]:9' })).toThrow(
        /endpoint \[2001:db8::1\]:9: this port is bound to an IPv4 address/,
      );
      expect(device.peers.size).toBe(0);
      const peer = port.addPeer(device, { publicKey });
      await port.setEndpoint(peer, 'vpn.example:9');
      expect(peer.endpointText).toBe('127.0.0.1:9');
      await expect(port.setEndpoint(peer, 'vpn.example:9')).rejects.toThrow(
        /endpoint vpn.example: .* none that can be reached \(2001:db8::1\)/,
      );
      expect(peer.endpointText).toBe('127.0.0.1:9');
    } finally {
      port.close();
    }
  });

  it('keep their zone when the port moves, and when wg sets them', async () => {
    const port = await listen({ port: 0 });
    try {
      const device = port.device({ privateKey: generatePrivateKey() });
      const publicKey = generatePrivateKey();
      const peer = port.addPeer(device, { publicKey, endpoint: '[fe80::1%1]:9' });
      await port.setListenPort(0);
      expect(peer.endpointText).toBe('[fe80::1%1]:9');
      const request = `set=1\npublic_key=${formatKeyHex(publicKey)}\nendpoint=[fe80::2%1]:8`;
      expect(await answerUapi(device, port, request)).toBe('errno=0\n\n');
      expect(peer.endpointText).toBe('[fe80::2%1]:8');
    } finally {
      port.close();
    }
  });
});

describe('a mark for routing rules', () => {
  it('WG-14: is refused by name where the socket cannot carry it', async () => {
    await expect(listen({ port: 0, io: 'portable', fwMark: 7 })).rejects.toThrow(/mark/);
    const port = await listen({ port: 0, io: 'portable', fwMark: 0 });
    try {
      expect(() => port.setFwMark(7)).toThrow(/mark.*batched/);
      expect(port.fwMark).toBe(0);
      const device = port.device({ privateKey: generatePrivateKey() });
      expect(await answerUapi(device, port, 'set=1\nfwmark=7')).toBe('errno=-95\n\n');
    } finally {
      port.close();
    }
  });
});

describe('files', () => {
  it('become devices, and QR codes for phones', async () => {
    const key = formatKey(generatePrivateKey());
    const peer = formatKey(generatePrivateKey());
    const text = `[Interface]\nPrivateKey = ${key}\nAddress = 10.0.0.1/24\nMTU = 1380\n\n[Peer]\nPublicKey = ${peer}\nAllowedIPs = 10.0.0.2/32\nEndpoint = 127.0.0.1:9\nPersistentKeepalive = 25\n`;
    const port = await listen({ port: 0, address: '127.0.0.1' });
    try {
      const device = port.deviceOf(text);
      expect([device.mtu, device.addrs.map(String)]).toEqual([1380, ['10.0.0.1/24']]);
      const [added] = device.peers.values();
      expect(added.id).toBe(peer);
      expect(added.persistentKeepalive).toBe(25);
      expect(() => port.deviceOf('[Interface]\n')).toThrow(/PrivateKey/);
    } finally {
      port.close();
    }
    expect(await configQr(text)).toContain('\u001b[');
    const png = await configQrPng(parseConfig(formatConfig(parseConfig(text))));
    expect([...png.subarray(1, 4)]).toEqual([0x50, 0x4e, 0x47]);
  });
});

describe('the control socket', () => {
  it('answers several requests of one client, and throws out one without an end', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pktkit-wg-'));
    const port = await listen({ port: 0, address: '127.0.0.1' });
    try {
      const device = port.device({ privateKey: generatePrivateKey() });
      const path = join(folder, 'wg0.sock');
      const server = await port.serveUapi(device, { path });
      const client = dial(path);
      let answers = '';
      client.setEncoding('utf8').on('data', (text: string) => {
        answers += text;
      });
      client.write('set=1\nfwmark=x\n\nget=1\n\nset=1\n\n');
      await until(() => (answers.match(/errno=/g) ?? []).length === 3);
      expect(answers).toMatch(
        /^errno=-22\n\nprivate_key=[0-9a-f]{64}\nlisten_port=[0-9]+\nerrno=0\n\nerrno=0\n\n$/,
      );
      const closed = new Promise((resolve) => client.once('close', resolve));
      server.close();
      await Promise.all([closed, server.closed]);
      await expect(port.serveUapi(device, { name: 'a/b' })).rejects.toThrow(/interface name/);
    } finally {
      port.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
