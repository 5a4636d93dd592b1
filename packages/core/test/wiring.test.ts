import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import {
  BufferPool,
  connectL2,
  connectL3,
  FlushQueue,
  Frame,
  HEADROOM,
  type L2Acceptor,
  type L2Device,
  L2Hub,
  MacAddr,
  Packet,
  Prefix,
  pipeL2,
  pipeL3,
  serve,
  systemClock,
  TAILROOM,
  TimerQueue,
} from '@pktkit/core';
import { poisoningPipeL2 } from '@pktkit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('TimerQueue', () => {
  it('fires like a sorted list, whatever is armed, moved and cancelled', () => {
    const step = fc.record({
      timer: fc.nat(11),
      deadline: fc.oneof(fc.nat(40), fc.constant(Number.POSITIVE_INFINITY)),
      run: fc.option(fc.nat(40), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new TimerQueue();
        const fired: number[] = [];
        const armed = new Array<number>(12).fill(Number.POSITIVE_INFINITY);
        const timers = armed.map((_, id) => queue.timer(() => fired.push(id)));
        for (const { timer, deadline, run } of steps) {
          timers[timer].arm(deadline);
          armed[timer] = deadline;
          expect(queue.nextDeadline()).toBe(Math.min(...armed));
          expect(timers.map((t) => t.deadline)).toEqual(armed);
          if (run === undefined) continue;
          queue.run(run, () => {});
          const due = armed.flatMap((at, id) => (at <= run ? [id] : []));
          expect([...fired].sort((a, b) => a - b)).toEqual(due);
          expect(fired.map((id) => armed[id])).toEqual(
            due.map((id) => armed[id]).sort((a, b) => a - b),
          );
          for (const id of fired.splice(0)) armed[id] = Number.POSITIVE_INFINITY;
        }
      }),
    );
  });

  it('keeps no heap of cancelled timers', () => {
    const queue = new TimerQueue();
    for (let i = 0; i < 10_000; i++) {
      const timer = queue.timer(() => {});
      timer.arm(1e9 + i);
      timer.cancel();
    }
    expect(queue.size).toBeLessThan(200);
    expect(queue.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('gives a timer that re-arms itself for now its turn later, and survives errors', () => {
    const queue = new TimerQueue();
    let turns = 0;
    const busy = queue.timer(() => {
      turns++;
      busy.arm(0);
      throw new Error('broken');
    });
    let other = 0;
    busy.arm(0);
    queue.timer(() => other++).arm(0);
    const errors: unknown[] = [];
    queue.run(5, (error) => errors.push(error));
    expect([turns, other, errors.length]).toEqual([1, 1, 1]);
    queue.run(5, (error) => errors.push(error));
    expect(turns).toBe(2);
    expect(() => busy.arm(Number.NaN)).toThrow(RangeError);
  });
});

describe('systemClock', () => {
  it('stands still within a batch and flushes at its end, in order', () => {
    const order: string[] = [];
    systemClock.beginBatch();
    const { now } = systemClock;
    systemClock.endOfBatch(() => {
      order.push('first');
      systemClock.endOfBatch(() => order.push('late'));
    });
    systemClock.beginBatch();
    systemClock.endOfBatch(() => order.push('second'));
    systemClock.endBatch();
    const until = performance.now() + 2;
    while (performance.now() < until);
    expect(systemClock.now).toBe(now);
    expect(order).toEqual([]);
    systemClock.endBatch();
    expect(order).toEqual(['first', 'second', 'late']);
    expect(systemClock.now).toBeGreaterThan(now);
  });

  it('flushes outside a batch as a microtask, and fires timers not before their time', async () => {
    let flushed = false;
    systemClock.endOfBatch(() => {
      flushed = true;
    });
    expect(flushed).toBe(false);
    await Promise.resolve();
    expect(flushed).toBe(true);
    const due = systemClock.now + 5;
    const at = await new Promise<number>((resolve) => {
      systemClock.hold();
      systemClock.timer(() => resolve(systemClock.now)).arm(due);
    });
    systemClock.release();
    expect(at).toBeGreaterThanOrEqual(due);
    expect(() => systemClock.release()).toThrow(RangeError);
    expect(systemClock.wall).toBeGreaterThan(1.7e12);
  });

  it('hears what came while the process was busy before it calls anything late', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [accepted] = (await once(server, 'connection')) as [Socket];
    const order: string[] = [];
    accepted.on('data', () => order.push('input'));
    const fired = new Promise<void>((resolve) => {
      systemClock
        .timer(() => {
          order.push('timer');
          resolve();
        })
        .arm(systemClock.now + 5);
    });
    client.write('answer');
    const until = performance.now() + 30;
    while (performance.now() < until);
    await fired;
    expect(order).toEqual(['input', 'timer']);
    client.destroy();
    server.close();
  });

  it('runs every flush although one throws', () => {
    const queue = new FlushQueue();
    const errors: unknown[] = [];
    let ran = 0;
    queue.push(() => {
      throw new Error('broken');
    });
    queue.push(() => ran++);
    queue.run((error) => errors.push(error));
    expect([ran, errors.length, queue.isEmpty]).toEqual([1, 1, true]);
  });
});

describe('BufferPool', () => {
  it('CORE-21: gives buffers again instead of allocating, within its caps', () => {
    const pool = new BufferPool(2, 1);
    const small = pool.take(1500);
    expect(small.length).toBeGreaterThanOrEqual(HEADROOM + 1514 + TAILROOM);
    pool.give(small);
    expect(pool.take(100) === small).toBe(true);
    const large = pool.take(65_000);
    pool.give(large);
    expect(pool.take(3000) === large).toBe(true);
    for (const buf of Array.from({ length: 5 }, () => pool.take(1500))) pool.give(buf);
    const { allocated } = pool.stats;
    for (let i = 0; i < 3; i++) pool.take(1500);
    expect(pool.stats.allocated - allocated).toBe(1);
    const huge = pool.take(1e6);
    expect([huge.length, pool.stats.oversize]).toEqual([1e6, 1]);
    pool.give(huge);
    pool.give(new Uint8Array(7));
    expect(pool.take(1e6) === huge).toBe(false);
  });
});

describe('pipes and connections', () => {
  it('CORE-20: what is sent into one end comes out of the other, and there is one way to send', () => {
    const [a, b] = pipeL2({ mtu: 9000 });
    const got: Frame[] = [];
    b.setHandler((frame) => got.push(frame));
    const frame = Frame.of(new Uint8Array(60));
    a.send(frame);
    b.send(frame);
    expect([got.length, got[0] === frame, a.mtu]).toEqual([1, true, 9000]);
    expect([a.stats, b.stats]).toEqual([
      { delivered: 1, dropped: 0 },
      { delivered: 0, dropped: 1 },
    ]);
    expect('inject' in a).toBe(false);
    a.close();
    a.close();
    a.send(frame);
    b.send(frame);
    expect([got.length, a.stats.dropped, b.stats.dropped]).toEqual([1, 1, 2]);
  });

  it('join two devices both ways until disconnected', () => {
    const [a, near] = pipeL3();
    const [far, b] = pipeL3();
    a.setAddrs([Prefix.parse('10.0.0.1/24')]);
    expect(a.addrs.map(String)).toEqual(['10.0.0.1/24']);
    const undo = connectL3(near, far);
    let [left, right] = [0, 0];
    a.setHandler(() => left++);
    b.setHandler(() => right++);
    const packet = Packet.of(new Uint8Array(20));
    a.send(packet);
    b.send(packet);
    expect([left, right]).toEqual([1, 1]);
    undo();
    undo[Symbol.dispose]();
    a.send(packet);
    b.send(packet);
    expect([left, right]).toEqual([1, 1]);
    const [c, d] = pipeL2();
    const [e, f] = pipeL2();
    connectL2(d, e);
    let frames = 0;
    f.setHandler(() => frames++);
    c.send(Frame.of(new Uint8Array(60)));
    expect(frames).toBe(1);
  });

  it('nothing in the hub keeps a borrowed window: it runs over poisoning pipes', () => {
    const hub = new L2Hub();
    const ends = [0, 1, 2].map(() => {
      const [near, far] = poisoningPipeL2();
      hub.connectL2(near);
      return far;
    });
    const got: number[] = [];
    for (const [i, end] of ends.entries())
      end.setHandler((frame) => got.push(i * 100 + frame.buf[frame.off + 20]));
    const send = (from: number, dst: number, mark: number) => {
      const buf = new Uint8Array(60).fill(mark);
      const frame = Frame.of(buf);
      frame.dst = dst;
      frame.src = 0x020000000000 + from;
      ends[from].send(frame);
    };
    send(0, 0xffffffffffff, 7);
    send(1, 0x020000000000, 8);
    send(2, 0x020000000009, 9);
    expect(got).toEqual([107, 207, 8, 9, 109]);
  });
});

describe('serve', () => {
  class Guest implements L2Device {
    readonly mac = MacAddr.random();
    readonly mtu = 1500;
    readonly accepts = 0;
    closes = 0;
    end: () => void = () => {};
    readonly closed: Promise<void> = new Promise((resolve) => {
      this.end = resolve;
    });
    setHandler(): void {}
    send(): void {}
    close(): void {
      this.closes++;
      this.end();
    }
  }

  const acceptorOf = (guests: Guest[], forever = false): L2Acceptor & { returned: boolean } => {
    const acceptor = {
      returned: false,
      [Symbol.asyncIterator]() {
        return {
          async next(): Promise<IteratorResult<L2Device>> {
            const guest = guests.shift();
            if (guest === undefined && forever) return new Promise(() => {});
            return guest === undefined
              ? { done: true, value: undefined }
              : { done: false, value: guest };
          },
          async return(): Promise<IteratorResult<L2Device>> {
            acceptor.returned = true;
            return { done: true, value: undefined };
          },
        };
      },
    };
    return acceptor;
  };

  it('connects every guest and disconnects each when it ends', async () => {
    const hub = new L2Hub();
    const guests = [new Guest(), new Guest()];
    const connected: L2Device[] = [];
    await serve(acceptorOf([...guests]), hub, { onConnect: (device) => connected.push(device) });
    expect([hub.portCount, connected.length]).toEqual([2, 2]);
    guests[0].close();
    await guests[0].closed;
    expect(hub.portCount).toBe(1);
  });

  it('CORE-20: goes on after a guest that cannot be connected, and closes it', async () => {
    const hub = new L2Hub({ maxPorts: 1 });
    const guests = [new Guest(), new Guest(), new Guest()];
    const errors: L2Device[] = [];
    const all = [...guests];
    const acceptor = acceptorOf(all);
    await serve(acceptor, hub, { onError: (_error, device) => errors.push(device) });
    expect(errors).toEqual(guests.slice(1));
    expect(guests.map(({ closes }) => closes)).toEqual([0, 1, 1]);
  });

  it('ends by its signal, and rejects when the acceptor itself fails', async () => {
    const hub = new L2Hub();
    const controller = new AbortController();
    const acceptor = acceptorOf([new Guest()], true);
    const serving = serve(acceptor, hub, { signal: controller.signal });
    await new Promise((resolve) => setImmediate(resolve));
    expect(hub.portCount).toBe(1);
    controller.abort();
    await serving;
    expect([hub.portCount, acceptor.returned]).toEqual([1, true]);
    await serve(acceptorOf([new Guest()]), hub, { signal: controller.signal });
    expect(hub.portCount).toBe(1);
    const broken: L2Acceptor = {
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('gone')) }),
    };
    await expect(serve(broken, hub)).rejects.toThrow('gone');
  });
});
