import type { UdpMessage, VClient } from '@pktkit/vclient';
import * as dnsPacket from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { A4, B4, B6, type Pair, pair } from './hosts.ts';

type Zone = (
  question: dnsPacket.Question,
  message: UdpMessage,
) => Partial<dnsPacket.Packet> | Uint8Array | null;

/** A name server on a virtual host; `zone` answers, or says nothing. */
function nameServer(
  host: VClient,
  zone: Zone,
): { asked: string[]; ports: Set<number>; ids: Set<number> } {
  const asked: string[] = [];
  const ports = new Set<number>();
  const ids = new Set<number>();
  const socket = host.udp({
    port: 53,
    onMessage: (message) => {
      const query = dnsPacket.decode(Buffer.from(message.data));
      const question = query.questions?.[0] as dnsPacket.Question;
      asked.push(`${question.type} ${question.name}`);
      ports.add(message.port);
      ids.add(query.id ?? -1);
      const answer = zone(question, message);
      if (answer === null) return;
      const bytes =
        answer instanceof Uint8Array
          ? answer
          : dnsPacket.encode({ type: 'response', id: query.id, questions: [question], ...answer });
      socket.send(new Uint8Array(bytes), message.address, message.port);
    },
  });
  return { asked, ports, ids };
}

const a = (name: string, data: string, ttl = 300): dnsPacket.StringAnswer => ({
  type: 'A',
  name,
  data,
  ttl,
});
const aaaa = (name: string, data: string, ttl = 300): dnsPacket.StringAnswer => ({
  type: 'AAAA',
  name,
  data,
  ttl,
});
const cname = (name: string, data: string): dnsPacket.StringAnswer => ({
  type: 'CNAME',
  name,
  data,
  ttl: 300,
});

/** Both families, at 192.0.2.80 and 2001:db8::80. */
const web: Zone = ({ type, name }) => ({
  answers: type === 'A' ? [a(name, '192.0.2.80')] : [aaaa(name, '2001:db8::80')],
});

function withServer(
  zone: Zone,
  options: Parameters<typeof pair>[0] = {},
): Pair & ReturnType<typeof nameServer> {
  const hosts = pair({ dns: [B4], ...options });
  return { ...hosts, ...nameServer(hosts.b, zone) };
}

describe('resolver', () => {
  it('asks for both families and prefers IPv6', async () => {
    const { clock, a: client, asked } = withServer(web);
    const found = await clock.settle(client.resolve('example.test'));
    expect(found.map(String)).toEqual(['2001:db8::80', '192.0.2.80']);
    expect(asked.sort()).toEqual(['A example.test', 'AAAA example.test']);
    expect((await clock.settle(client.resolve('example.test', { family: 4 }))).map(String)).toEqual(
      ['192.0.2.80'],
    );
    expect((await clock.settle(client.resolve('198.51.100.7'))).map(String)).toEqual([
      '198.51.100.7',
    ]);
  });

  it('VCL-06: a server that does not answer, or cannot, gives way to the next', async () => {
    const { clock, a: client, b } = pair({ dns: ['192.0.2.99', B4, B6] });
    let failures = 0;
    nameServer(b, ({ name }, { address }) => {
      if (address.toString() === A4) {
        failures++;
        return { flags: 2 };
      }
      return { answers: [a(name, '192.0.2.80')] };
    });
    const found = await clock.settle(client.resolve('example.test', { family: 4 }));
    expect(found.map(String)).toEqual(['192.0.2.80']);
    expect(failures).toBe(1);
    expect(clock.now).toBeLessThan(2100);
    expect(client.resolver.stats.timeouts).toBe(1);
  });

  it('VCL-06: goes round again before it gives up, then says EAI_AGAIN', async () => {
    const { clock, a: client, asked } = withServer(() => null);
    await expect(clock.settle(client.resolve('example.test', { family: 4 }))).rejects.toMatchObject(
      {
        code: 'EAI_AGAIN',
        hostname: 'example.test',
        syscall: 'getaddrinfo',
      },
    );
    expect(asked).toHaveLength(2);
    expect(clock.now).toBe(4000);
  });

  it('VCL-06: a closed port is no reason to wait', async () => {
    const { clock, a: client } = pair({ dns: [B4] });
    await expect(clock.settle(client.resolve('example.test'))).rejects.toMatchObject({
      code: 'EAI_AGAIN',
    });
    expect(clock.now).toBeLessThan(100);
  });

  it('VCL-06: NXDOMAIN is final at once, and remembered as long as its zone says', async () => {
    const soa: dnsPacket.SoaAnswer = {
      type: 'SOA',
      name: 'test',
      ttl: 60,
      data: {
        mname: 'ns.test',
        rname: 'root.test',
        serial: 1,
        refresh: 1,
        retry: 1,
        expire: 1,
        minimum: 20,
      },
    };
    const { clock, a: client, asked } = withServer(() => ({ flags: 3, authorities: [soa] }));
    const lookUp = () => clock.settle(client.resolve('nobody.test', { family: 4 }));
    await expect(lookUp()).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(clock.now).toBeLessThan(100);
    await expect(lookUp()).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(asked).toHaveLength(1);
    clock.advance(21_000);
    await expect(lookUp()).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(asked).toHaveLength(2);
  });

  it('VCL-06: follows aliases within an answer and across answers, and ends in a loop', async () => {
    const {
      clock,
      a: client,
      asked,
    } = withServer(({ name }) => {
      if (name === 'www.test')
        return { answers: [cname('www.test', 'cdn.test'), cname('cdn.test', 'edge.test')] };
      if (name === 'edge.test')
        return { answers: [a('edge.test', '192.0.2.80'), a('evil.test', '6.6.6.6')] };
      if (name === 'one.test') return { answers: [cname('one.test', 'two.test')] };
      return { answers: [cname('two.test', 'one.test')] };
    });
    const found = await clock.settle(client.resolve('www.test', { family: 4 }));
    expect(found.map(String)).toEqual(['192.0.2.80']);
    expect(asked).toEqual(['A www.test', 'A edge.test']);
    await expect(clock.settle(client.resolve('one.test', { family: 4 }))).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
  });

  it('VCL-06: comes back by TCP for a truncated answer', async () => {
    const many = Array.from({ length: 200 }, (_, i) => a('big.test', `10.9.${i >> 8}.${i & 255}`));
    const { clock, a: client, b } = withServer(() => ({ flags: 0x0200 }));
    // Straight on the engine: a stream needs turns of the event loop, in which virtual time would run on.
    b.tcp.listen({
      port: 53,
      onConnection: (connection) => {
        connection.onReadable = () => {
          const data = Buffer.from(connection.peek());
          if (data.length < 2 || data.length < 2 + data.readUInt16BE(0)) return;
          connection.consume(data.length);
          const query = dnsPacket.decode(data.subarray(2));
          const answer = answerTo(query, many);
          // In two parts, as segments come.
          connection.write(Uint8Array.of(answer.length >> 8));
          connection.write(Uint8Array.of(answer.length & 255));
          connection.write(answer);
          connection.close();
        };
      },
    });
    const found = await clock.settle(client.resolve('big.test', { family: 4 }));
    expect(found).toHaveLength(200);
    expect(client.resolver.stats.tcpFallbacks).toBe(1);
  });

  it('VCL-06: announces EDNS0, and does without when the server knows none', async () => {
    const sizes: number[] = [];
    const { clock, a: client } = withServer(({ name }, { data }) => {
      const query = dnsPacket.decode(Buffer.from(data));
      const opt = query.additionals?.[0] as
        | (dnsPacket.OptAnswer & { udpPayloadSize: number })
        | undefined;
      sizes.push(opt?.udpPayloadSize ?? 0);
      return opt === undefined ? { answers: [a(name, '192.0.2.80')] } : { flags: 1, questions: [] };
    });
    expect((await clock.settle(client.resolve('old.test', { family: 4 }))).map(String)).toEqual([
      '192.0.2.80',
    ]);
    expect(sizes).toEqual([1232, 0]);
  });

  it('VCL-06: keeps answers for their time to live, and a bounded number', async () => {
    const {
      clock,
      a: client,
      asked,
    } = withServer(({ name }) => ({ answers: [a(name, '192.0.2.80', 10)] }), {
      resolver: { cacheSize: 2 },
    });
    const lookUp = (name: string) => clock.settle(client.resolve(name, { family: 4 }));
    await lookUp('x.test');
    await lookUp('x.test');
    expect(asked).toHaveLength(1);
    clock.advance(9000);
    await lookUp('x.test');
    expect(asked).toHaveLength(1);
    clock.advance(1100);
    await lookUp('x.test');
    expect(asked).toHaveLength(2);
    await lookUp('y.test');
    await lookUp('z.test');
    await lookUp('x.test');
    expect(asked).toHaveLength(5);
    client.resolver.clearCache();
    await lookUp('x.test');
    expect(asked).toHaveLength(6);
  });

  it('VCL-06: forged answers are passed over: wrong id, wrong question, not an answer', async () => {
    const { clock, a: client, b } = pair({ dns: [B4] });
    const ports = new Set<number>();
    const ids = new Set<number>();
    const socket = b.udp({
      port: 53,
      onMessage: (message) => {
        const query = dnsPacket.decode(Buffer.from(message.data));
        const [question] = query.questions ?? [];
        ports.add(message.port);
        ids.add(query.id ?? -1);
        const forged = forgeries(query, [a(question.name, '6.6.6.6')]);
        const right = answerTo(query, [a(question.name, '192.0.2.80')]);
        for (const bytes of [...forged, right]) socket.send(bytes, message.address, message.port);
      },
    });
    for (let i = 0; i < 20; i++) {
      const found = await clock.settle(client.resolve(`n${i}.test`, { family: 4 }));
      expect(found.map(String)).toEqual(['192.0.2.80']);
    }
    expect(client.resolver.stats.mismatched).toBe(20 * 4);
    // A source port and an id of its own for each query.
    expect(ports.size).toBeGreaterThan(18);
    expect(ids.size).toBeGreaterThan(18);
  });

  it('VCL-06: hosts table, search list, and names that cannot be', async () => {
    const {
      clock,
      a: client,
      asked,
    } = withServer(
      ({ name }) => (name === 'db.corp.test' ? { answers: [a(name, '192.0.2.5')] } : { flags: 3 }),
      {
        resolver: {
          hosts: { printer: ['192.0.2.6', '2001:db8::6'] },
          search: ['lab.test', 'corp.test'],
        },
      },
    );
    const lookUp = (name: string) => clock.settle(client.resolve(name, { family: 4 }));
    expect((await lookUp('printer')).map(String)).toEqual(['192.0.2.6']);
    expect(asked).toEqual([]);
    expect((await lookUp('db')).map(String)).toEqual(['192.0.2.5']);
    expect(asked).toEqual(['A db.lab.test', 'A db.corp.test']);
    await expect(lookUp('db.')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(asked.at(-1)).toBe('A db');
    for (const bad of ['', 'a..b', `${'x'.repeat(64)}.test`, 'x.'.repeat(130)]) {
      await expect(lookUp(bad)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    }
  });

  it('has the shape of dns.lookup', async () => {
    const { clock, a: client } = withServer(web);
    const results: unknown[] = [];
    client.lookup('example.test', 4, (...args) => results.push(args));
    client.lookup('example.test', { all: true }, (...args) => results.push(args));
    client.lookup('example.test', (...args: unknown[]) => results.push(args));
    client.lookup('a..b', { family: 'IPv4' }, (error) => results.push(error?.code));
    await clock.runUntilAsync(() => results.length === 4);
    expect(results).toContainEqual([null, '192.0.2.80', 4]);
    expect(results).toContainEqual([
      null,
      [
        { address: '2001:db8::80', family: 6 },
        { address: '192.0.2.80', family: 4 },
      ],
    ]);
    expect(results).toContainEqual([null, '2001:db8::80', 6]);
    expect(results).toContain('ENOTFOUND');
  });

  it('VCL-04: look-ups leave no port behind, answered or not', async () => {
    const {
      clock,
      a: client,
      b,
    } = withServer(({ name }) => (name.startsWith('odd') ? null : { flags: 3 }), {
      udpSockets: 64,
      resolver: { timeout: 10, attempts: 1 },
    });
    for (let i = 0; i < 500; i++) {
      await clock.settle(
        client.resolve(`${i % 5 === 0 ? 'odd' : 'even'}${i}.test`, { family: 4 }).catch(() => {}),
      );
    }
    expect(client.resolver.stats.queries).toBe(500);
    // All 64 sockets are free again.
    const sockets = Array.from({ length: 64 }, () => client.udp());
    expect(() => client.udp()).toThrow(/ENOBUFS/);
    for (const socket of sockets) socket.close();
    expect(b.stats.udpIn).toBe(500);
    expect(clock.holds).toBe(1);
  });

  it('asks once for the same question asked many times at once', async () => {
    const { clock, a: client, asked } = withServer(web);
    const all = Array.from({ length: 10 }, () => client.resolve('example.test', { family: 4 }));
    expect((await clock.settle(Promise.all(all))).flat().map(String)).toEqual(
      Array(10).fill('192.0.2.80'),
    );
    expect(asked).toHaveLength(1);
  });
});

function answerTo(query: dnsPacket.DecodedPacket, answers: dnsPacket.Answer[]): Uint8Array {
  const { id, questions } = query;
  return new Uint8Array(dnsPacket.encode({ type: 'response', id, questions, answers }));
}

function forgeries(query: dnsPacket.DecodedPacket, answers: dnsPacket.Answer[]): Uint8Array[] {
  const { id = 0, questions } = query;
  const packets: dnsPacket.Packet[] = [
    { type: 'response', id: id ^ 1, questions, answers },
    { type: 'response', id, questions: [{ type: 'A', name: 'other.test' }], answers },
    { type: 'query', id, questions, answers },
  ];
  return [...packets.map((packet) => new Uint8Array(dnsPacket.encode(packet))), new Uint8Array(20)];
}

describe('happy eyeballs', () => {
  function dualStack(broken: 4 | 6 | null): Pair {
    const hosts = pair({ dns: [B4] });
    const { b } = hosts;
    nameServer(b, ({ type, name }) => ({
      answers:
        type === 'A'
          ? [a(name, broken === 4 ? '192.0.2.99' : B4)]
          : [aaaa(name, broken === 6 ? '2001:db8::99' : B6)],
    }));
    b.listen({ port: 80 }).on('connection', (socket) => socket.resume());
    return hosts;
  }

  it.each([
    [null, B6, 0],
    [4, B6, 0],
    [6, B4, 250],
  ] as const)(
    'VCL-06: with family %s broken it connects to %s after %i ms',
    async (broken, address, after) => {
      const { clock, a: client } = dualStack(broken);
      const socket = client.connect({ host: 'web.test', port: 80 });
      await clock.runUntilAsync(() => !socket.connecting);
      expect(socket.remoteAddress).toBe(address);
      expect(clock.now).toBeGreaterThanOrEqual(after);
      expect(clock.now).toBeLessThan(after + 60);
      expect(client.tcp.connections).toBe(1);
      socket.destroy();
    },
  );

  it('goes to the next address at once when one refuses', async () => {
    const { clock, a: client, b } = pair({ dns: [B4] });
    nameServer(b, ({ type, name }) => ({
      answers: type === 'A' ? [a(name, B4)] : [aaaa(name, B6)],
    }));
    b.listen({ host: B4, port: 80 }).on('connection', (socket) => socket.resume());
    const socket = client.connect({ host: 'web.test', port: 80 });
    await clock.runUntilAsync(() => !socket.connecting);
    expect(socket.remoteAddress).toBe(B4);
    expect(clock.now).toBeLessThan(60);
  });

  it('tells the first failure when nothing connects, and of names that do not exist', async () => {
    const { clock, a: client } = withServer(({ type, name }) =>
      name === 'gone.test'
        ? { flags: 3 }
        : { answers: type === 'A' ? [a(name, B4)] : [aaaa(name, B6)] },
    );
    const codes: Array<string | undefined> = [];
    client
      .connect({ host: 'web.test', port: 80 })
      .on('error', (error: NodeJS.ErrnoException) => codes.push(error.code));
    await clock.runUntilAsync(() => codes.length === 1);
    client
      .connect({ host: 'gone.test', port: 80 })
      .on('error', (error: NodeJS.ErrnoException) => codes.push(error.code));
    await clock.runUntilAsync(() => codes.length === 2);
    expect(codes).toEqual(['ECONNREFUSED', 'ENOTFOUND']);
  });
});

describe('hostile answers', () => {
  /** An answer with aliases, several records, a pointer into itself: what there is to break. */
  function rich(id: number, question: dnsPacket.Question): Uint8Array {
    const { name } = question;
    const answers = [cname(name, 'alias.test'), a('alias.test', B4), aaaa('alias.test', B6)];
    return new Uint8Array(
      dnsPacket.encode({
        type: 'response',
        id,
        questions: [question],
        answers,
        authorities: [
          {
            type: 'SOA',
            name: 'test',
            ttl: 60,
            data: { mname: 'ns.test', rname: 'who.test', serial: 1, minimum: 60 },
          },
        ],
        additionals: [{ type: 'TXT', name, data: ['x'.repeat(100)], ttl: 5 }],
      }),
    );
  }

  it('never throw, and every question is settled within its time', async () => {
    let seed = 7;
    const next = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed >>> 16;
    };
    let count = 0;
    const { clock, a: client } = withServer((question, message) => {
      count++;
      const query = dnsPacket.decode(Buffer.from(message.data));
      const bytes = rich(query.id ?? 0, question);
      // The id and "response" stay, else nothing looks further.
      for (let n = next() % 5; n > 0; n--) bytes[3 + (next() % (bytes.length - 3))] = next();
      return bytes.subarray(0, next() % 4 === 0 ? next() % bytes.length : bytes.length);
    });
    const ends = new Set<string>();
    for (let i = 0; i < 400; i++) {
      const from = clock.now;
      const looked = client.resolve(`host${i}.test`).then(
        (found) => `${found.length > 0}`,
        (error: NodeJS.ErrnoException) => String(error.code),
      );
      ends.add(await clock.settle(looked));
      expect(clock.now - from).toBeLessThan(60_000);
    }
    expect(count).toBeGreaterThan(800);
    // Some get through, some say that there is no such name, some never become an answer.
    expect(ends.has('true')).toBe(true);
    for (const end of ends) expect(end).toMatch(/^(true|ENOTFOUND|ENODATA|EAI_AGAIN|ETIMEDOUT)$/);
  });
});
