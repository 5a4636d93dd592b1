import { parseScript, type RunResult, runScript, VtcpTarget } from '@pktkit/packetdrill';
import { describe, expect, it } from 'vitest';

const listening = `
  0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
  +0 bind(3, ..., ...) = 0
  +0 listen(3, 1) = 0`;
const accepted = `${listening}
  +0 < S 0:0(0) win 32792 <mss 1000>
  +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 32792
  +0 accept(3, ..., ...) = 4`;
const stamped = `${listening}
  +0 < S 0:0(0) win 32792 <mss 1000,nop,nop,TS val 9 ecr 0>
  +0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,TS val 40 ecr 9>
  +.1 < . 1:1(0) ack 1 win 32792 <nop,nop,TS val 9 ecr 40>
  +0 < . 1:101(100) ack 1 win 32792 <nop,nop,TS val 9 ecr 40>`;

async function run(text: string): Promise<RunResult> {
  const script = parseScript(text);
  return runScript(script, new VtcpTarget(script));
}

async function holds(text: string): Promise<void> {
  const { failure, log } = await run(text);
  expect(failure, log.join('\n')).toBeNull();
}

async function fails(text: string, seen: string | RegExp): Promise<void> {
  const { failure } = await run(text);
  expect(failure?.seen).toMatch(seen);
}

describe('the language', () => {
  it("counts a blocking call's end from where its beginning counts", async () => {
    const read = (end: string) => `${accepted}
      +.2...${end} read(4, ..., 100) = 50
      +.1 < . 1:51(50) ack 1 win 32792
      +0 > . 1:1(0) ack 51`;
    await holds(read('0.3'));
    await fails(read('0.4'), /returned at/);
  });

  it('lets a script number its descriptors', async () => {
    await holds(`0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 7
      +0 bind(7, ..., ...) = 0
      +0 close(7) = 0`);
  });

  it('wants PSH on the last of what was written, and leaves it free before', async () => {
    const wrote = (first: string, last: string) => `${accepted}
      +0 write(4, ..., 3000) = 3000
      +0 > ${first} 1:2001(2000) ack 1
      +0 > ${last} 2001:3001(1000) ack 1`;
    await holds(wrote('P.', 'P.'));
    await holds(wrote('.', 'P.'));
    await fails(wrote('.', 'E.'), /3001/);
  });

  it('takes timestamps for names until it is told the tick', async () => {
    const answer = (value: number) => `${stamped}
      +0 > . 1:1(0) ack 101 <nop,nop,TS val ${value} ecr 9>`;
    await holds(answer(7000));
    await holds(`--tcp_ts_tick_usecs=1000\n${answer(140)}`);
    await fails(`--tcp_ts_tick_usecs=1000\n${answer(7000)}`, 'TS val 140');
  });

  it('compares what a call wrote: poll, and the rest of the queue with a message', async () => {
    const poll = (revents: string) => `${accepted}
      +0 poll([{fd=4, events=POLLIN|POLLOUT, revents=${revents}}], 1, 0) = 1`;
    await holds(poll('POLLOUT'));
    await fails(poll('POLLIN|POLLOUT'), '4');
    const receive = (left: number) => `${accepted}
      +0 setsockopt(4, SOL_TCP, TCP_INQ, [1], 4) = 0
      +0 < F. 1:501(500) ack 1 win 32792
      +0 > . 1:1(0) ack 502
      +0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 300}], msg_flags=0,
           msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=${left}}]}, 0) = 300
      +0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 300}], msg_flags=0,
           msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=1}]}, 0) = 200`;
    await holds(receive(200));
    await fails(receive(199), '200');
  });

  it('holds back what MSG_MORE announces, and TCP_NODELAY pushes it', async () => {
    await holds(`${accepted}
      +0 send(4, ..., 40, MSG_MORE) = 40
      +.05 send(4, ..., 40, MSG_MORE) = 40
      +.01 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0
      +0 > P. 1:81(80) ack 1
      +.01 < . 1:1(0) ack 81 win 32792
      +0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 10}, {..., 20}], msg_flags=0}, MSG_MORE) = 30
      +.05 write(4, ..., 10) = 10
      +0 > P. 81:121(40) ack 1`);
  });

  it('follows one connection at a time', async () => {
    const second = `${accepted}
      +0 < . 1:101(100) ack 1 win 32792
      +0 > . 1:1(0) ack 101
      +0 close(4) = 0
      +0 close(3) = 0
      +0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
      +0 bind(3, ..., ...) = 0
      +0 listen(3, 1) = 0
      +0 < S 0:0(0) win 32792 <mss 1000>
      +0 > S. 0:0(0) ack 1 <mss 1460>`;
    await holds(second);
    const { log } = await run(second);
    // Data that nobody read: the first connection ended with a reset.
    expect(log.join('\n')).toMatch(/\(before\) R\. 1:1\(0\)/);
  });

  it('loses what a queue without room is given', async () => {
    await holds(`${accepted}
      +0 \`tc qdisc replace dev tun0 root pfifo limit 0\`
      +0 write(4, ..., 100) = 100
      +.01 \`tc qdisc replace dev tun0 root pfifo\`
      +.2~+.4 > P. 1:101(100) ack 1
      +0 %{ assert tcpi_total_retrans == 1, '%d of %d' % (tcpi_total_retrans, 1); \\
            assert tcpi_last_data_recv >= 300 }%`);
  });
});
