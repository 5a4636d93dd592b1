import { parseScript, ScriptError } from '@pktkit/packetdrill';
import { describe, expect, it } from 'vitest';

const script = `// A connection, some data, an ICMP error.
--tolerance_usecs=10000
\`sysctl -q net.ipv4.tcp_sack=1\`

    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
   +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
   +0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 8>
 +.02 < [ect0] SE. 0:0(0) ack 1 win 65535 <mss 1000,nop,nop,sackOK>
   +0~+.001 > . 1:1(0) ack 1 <...>
+0...0.2 read(3, ..., 1000) = 1000
   +0 < . 1:1(0) ack 1 win 257 <nop,nop,sack 1001:2001 3001:4001>
   +0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]
   +0 poll([{fd=3, events=POLLOUT, revents=POLLOUT}], 1, 100) = 1
   +0 %{ assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd }%
    * > R. 1:1(0) ack 1
`;

describe('parseScript', () => {
  const parsed = parseScript(script, 'a.pkt');

  it('reads options, the initial command and every kind of event', () => {
    expect(parsed.options.get('tolerance_usecs')).toBe('10000');
    expect(parsed.init).toBe('sysctl -q net.ipv4.tcp_sack=1');
    expect(parsed.events.map((event) => event.kind)).toEqual([
      ...['call', 'call', 'call', 'packet', 'packet', 'packet', 'call', 'packet', 'packet', 'call'],
      ...['code', 'packet'],
    ]);
    expect(parsed.events[4].line).toBe(9);
  });

  it('reads packets', () => {
    const [syn, synAck, ack] = [3, 4, 5].map((i) => parsed.events[i]);
    expect(syn).toMatchObject({
      packet: {
        direction: 'out',
        body: {
          flags: 2,
          ack: null,
          options: [
            { kind: 'mss', value: 1460 },
            { kind: 'sackOK' },
            { kind: 'timestamp', value: 100, echo: 0 },
            { kind: 'nop' },
            { kind: 'wscale', value: 8 },
          ],
        },
      },
    });
    expect(synAck).toMatchObject({
      packet: { direction: 'in', ecn: 'ect0', body: { flags: 0x52, ack: 1, window: 65535 } },
    });
    expect(ack).toMatchObject({
      time: { kind: 'relative-range', from: 0, to: 0.001 },
      packet: { body: { options: null } },
    });
    expect(parsed.events[7]).toMatchObject({
      packet: {
        body: {
          options: [
            { kind: 'nop' },
            { kind: 'nop' },
            {
              kind: 'sack',
              blocks: [
                { left: 1001, right: 2001 },
                { left: 3001, right: 4001 },
              ],
            },
          ],
        },
      },
    });
    expect(parsed.events[8]).toMatchObject({
      packet: {
        body: { kind: 'icmp', code: 'frag_needed', mtu: 1200, echoed: { seq: 1, payload: 1460 } },
      },
    });
    expect(parsed.events[11].time).toEqual({ kind: 'any' });
  });

  it('reads calls', () => {
    expect(parsed.events[2]).toMatchObject({
      call: { name: 'connect', errno: 'EINPROGRESS', result: { value: -1 } },
    });
    expect(parsed.events[6]).toMatchObject({ call: { end: { at: 0.2, relative: false } } });
    expect(parsed.events[1]).toMatchObject({
      call: { args: [{ value: 3 }, { names: ['F_SETFL'] }, { names: ['O_RDWR', 'O_NONBLOCK'] }] },
    });
  });

  it.each([
    ['0 > S 0:10(5)', /holds 10 bytes, not 5/],
    ['0 > . 1:1(0)', /ack N/],
    ['0 < S 0:0(0) win 1 <wat 3>', /TCP option/],
    ['0 socket(', /a.pkt:1/],
    ['now close(3) = 0', /a time in seconds/],
  ])('refuses %s and says where', (text, message) => {
    expect(() => parseScript(text, 'a.pkt')).toThrow(ScriptError);
    expect(() => parseScript(text, 'a.pkt')).toThrow(message);
  });
});
