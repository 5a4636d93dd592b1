import {
  type Disconnect,
  dropFrame,
  Frame,
  type FrameHandler,
  type L2Device,
  L2Hub,
  MacAddr,
  PktkitError,
  pipeL2,
} from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

/** A port that keeps copies of what it is sent and can bring frames. */
class Probe implements L2Device {
  readonly mac: MacAddr;
  mtu = 1500;
  readonly accepts = 15;
  readonly got: Frame[] = [];
  handler: FrameHandler = dropFrame;
  onSend: ((frame: Frame) => void) | null = null;
  closed = false;

  constructor(mac: number) {
    this.mac = MacAddr.fromNumber(mac);
  }

  setHandler(handler: FrameHandler): void {
    this.handler = handler;
  }

  send(frame: Frame): void {
    this.got.push(frame.clone());
    this.onSend?.(frame);
  }

  close(): void {
    this.closed = true;
  }

  /** Brings a frame from this port's address, or from `src`. */
  bring(dst: number, src: number = this.mac.value, len = 60): void {
    const frame = Frame.of(new Uint8Array(len));
    frame.dst = dst;
    frame.src = src;
    this.handler(frame);
  }

  take(): number {
    return this.got.splice(0).length;
  }
}

const A = 0x020000000001;
const B = 0x020000000002;
const C = 0x020000000003;
const ALL = 0xffffffffffff;

function lan(options: ConstructorParameters<typeof L2Hub>[0] = {}) {
  const clock = new VirtualClock();
  const hub = new L2Hub({ clock, ...options });
  const [a, b, c] = [A, B, C].map((mac) => new Probe(mac));
  const undo: Disconnect[] = [a, b, c].map((port) => hub.connectL2(port));
  return { clock, hub, a, b, c, undo };
}

describe('L2Hub', () => {
  it('floods what it does not know and forwards what it has learned, without copying', () => {
    const { hub, a, b, c } = lan();
    a.bring(B);
    expect([a.take(), b.take(), c.take()]).toEqual([0, 1, 1]);
    b.bring(A);
    expect([a.take(), b.take(), c.take()]).toEqual([1, 0, 0]);
    a.bring(ALL);
    expect([a.take(), b.take(), c.take()]).toEqual([0, 1, 1]);
    expect(hub.stats).toMatchObject({ learned: 2, flooded: 2, forwarded: 1 });
    const sent = Frame.of(new Uint8Array(60));
    sent.dst = B;
    sent.src = A;
    let same = false;
    b.onSend = (frame) => {
      same = frame === sent;
    };
    a.handler(sent);
    expect(same).toBe(true);
    expect(hub.portStats(a)).toEqual({ received: 3, sent: 1, errors: 0 });
  });

  it('CORE-03: a busy address does not age', () => {
    const { clock, hub, a, b, c } = lan();
    b.bring(A);
    for (let minute = 0; minute < 60; minute++) {
      clock.advance(60_000);
      b.bring(A);
    }
    [a, b, c].map((port) => port.take());
    a.bring(B);
    expect([b.take(), c.take()]).toEqual([1, 0]);
    expect(hub.stats.expired).toBe(0);
  });

  it('CORE-03: an idle address is forgotten after the ageing time although nobody sends to it', () => {
    const { clock, hub, b } = lan();
    b.bring(A);
    clock.advance(299_000);
    expect(hub.addressCount).toBe(1);
    clock.advance(12_000);
    expect(hub.addressCount).toBe(0);
    expect(hub.stats.expired).toBe(1);
    expect(clock.nextDeadline).toBe(Number.POSITIVE_INFINITY);
    // And learning starts again, clock included.
    b.bring(A);
    clock.advance(311_000);
    expect(hub.stats.expired).toBe(2);
  });

  it('CORE-03: a full table goes on learning, at the cost of the address not seen for longest', () => {
    const { clock, hub, a, b, c } = lan({ maxAddresses: 64 });
    b.bring(A);
    clock.advance(20_000);
    for (let i = 0; i < 63; i++) c.bring(A, 0x060000000000 + i);
    expect(hub.addressCount).toBe(64);
    b.bring(A);
    clock.advance(10_000);
    for (let i = 63; i < 10_000; i++) {
      c.bring(A, 0x060000000000 + i);
      if (i % 30 === 0) {
        clock.advance(10_000);
        b.bring(A);
      }
    }
    expect(hub.addressCount).toBe(64);
    expect(hub.stats.evicted).toBeGreaterThan(9000);
    [a, b, c].map((port) => port.take());
    a.bring(B);
    expect([b.take(), c.take()]).toEqual([1, 0]);
  });

  it('CORE-04: a frame for an address on its own port is filtered, and the address stays known', () => {
    const { hub, a, b, c } = lan();
    a.bring(ALL, A);
    a.bring(ALL, 0x02000000000a);
    [b, c].map((port) => port.take());
    a.bring(0x02000000000a, A);
    expect([a.take(), b.take(), c.take()]).toEqual([0, 0, 0]);
    expect(hub.stats.dropSamePort).toBe(1);
    b.bring(0x02000000000a);
    expect([a.take(), c.take()]).toEqual([1, 0]);
  });

  it('CORE-05: a group source is dropped and never learned', () => {
    const { hub, a, b, c } = lan();
    a.bring(B, 0x010000000001);
    a.bring(B, ALL);
    expect([b.take(), c.take(), hub.addressCount]).toEqual([0, 0, 0]);
    expect(hub.stats.dropGroupSource).toBe(2);
  });

  it('CORE-05: a fixed address cannot be taken over, aged or pushed out', () => {
    const clock = new VirtualClock();
    const hub = new L2Hub({ clock, maxAddresses: 4 });
    const [a, b, c] = [A, B, C].map((mac) => new Probe(mac));
    hub.connectL2(a, { addresses: ['02:00:00:00:00:01'] });
    hub.connectL2(b);
    hub.connectL2(c);
    b.bring(C, A);
    expect([a.take(), c.take(), hub.stats.dropFixed]).toEqual([0, 0, 1]);
    for (let i = 0; i < 20; i++) b.bring(ALL, 0x060000000000 + i);
    clock.advance(1_000_000);
    [a, b, c].map((port) => port.take());
    c.bring(A);
    expect([a.take(), b.take()]).toEqual([1, 0]);
    expect([...hub.addresses()].find(({ fixed }) => fixed)?.device).toBe(a);
    const full = new L2Hub({ clock, maxAddresses: 1 });
    expect(() =>
      full.connectL2(new Probe(9), { addresses: ['02:00:00:00:00:01', '02:00:00:00:00:02'] }),
    ).toThrow(/maxAddresses/);
    expect([full.portCount, full.addressCount]).toEqual([0, 0]);
  });

  it('CORE-05: isolated ports reach the others but not each other', () => {
    const clock = new VirtualClock();
    const hub = new L2Hub({ clock });
    const [gateway, b, c] = [A, B, C].map((mac) => new Probe(mac));
    hub.connectL2(gateway);
    hub.connectL2(b, { isolated: true });
    hub.connectL2(c, { isolated: true });
    b.bring(ALL);
    expect([gateway.take(), c.take()]).toEqual([1, 0]);
    c.bring(B);
    expect([gateway.take(), b.take()]).toEqual([0, 0]);
    gateway.bring(B);
    expect([b.take(), c.take()]).toEqual([1, 0]);
    expect(hub.stats.dropIsolated).toBe(2);
  });

  it('CORE-06: two links between two hubs do not recurse until the stack is gone', () => {
    const clock = new VirtualClock();
    const [left, right] = [new L2Hub({ clock }), new L2Hub({ clock })];
    for (let link = 0; link < 3; link++) {
      const [a, b] = pipeL2();
      left.connectL2(a);
      right.connectL2(b);
    }
    const [host, other] = [new Probe(A), new Probe(B)];
    left.connectL2(host);
    right.connectL2(other);
    host.bring(ALL);
    host.bring(B);
    expect(left.stats.dropLoop + right.stats.dropLoop).toBeGreaterThan(0);
    expect(other.got.length).toBeGreaterThan(0);
    // Bounded work: six links' worth, not an exponential.
    expect(other.got.length).toBeLessThan(40);
    expect(host.got.length).toBeLessThan(40);
  });

  it('CORE-06: a loop through a device that copies ends at a depth', () => {
    const hub = new L2Hub({ clock: new VirtualClock() });
    const [a, b] = [new Probe(A), new Probe(B)];
    hub.connectL2(a);
    hub.connectL2(b);
    const [x, y] = [new Probe(0x02000000000e), new Probe(0x02000000000f)];
    hub.connectL2(x);
    hub.connectL2(y);
    let turns = 0;
    x.onSend = (frame) => {
      // A loop that also changes the frame, as a tunnel's own header would.
      const copy = frame.clone();
      copy.buf[40] = ++turns;
      y.handler(copy);
    };
    a.bring(ALL);
    expect(hub.stats.dropLoop).toBe(1);
    expect(b.got.length).toBeLessThan(32);
  });

  it('hands a frame for an unknown address to each port as it came, whatever the ports do to it', () => {
    const { a, b, c } = lan();
    b.onSend = (frame) => frame.buf.fill(0xee);
    const frame = Frame.of(new Uint8Array(60).fill(7));
    frame.dst = 0x02000000000d;
    frame.src = A;
    const before = frame.bytes.slice();
    a.handler(frame);
    expect(c.got[0].bytes).toEqual(before);
    expect(frame.bytes).toEqual(before);
  });

  it('lets an answer be written over its question, on the same stack', () => {
    const { a, b, hub } = lan();
    b.onSend = (frame) => {
      frame.dst = frame.src;
      frame.src = B;
      b.handler(frame);
    };
    a.bring(B);
    expect(a.got.map((frame) => frame.src)).toEqual([B]);
    expect(hub.stats.dropLoop).toBe(0);
  });

  it('survives a port that throws: the others are served, the error is told', () => {
    const errors: unknown[] = [];
    const { hub, a, b, c } = lan({
      onError: (error) => {
        errors.push(error);
        throw new Error('and so does the handler');
      },
    });
    const broken = new Error('broken port');
    b.onSend = () => {
      throw broken;
    };
    const uncaught = new Promise((resolve) => process.once('uncaughtException', resolve));
    a.bring(ALL);
    expect(c.take()).toBe(1);
    expect(errors).toEqual([broken]);
    expect(hub.stats.portErrors).toBe(1);
    expect(hub.portStats(b)?.errors).toBe(1);
    b.onSend = null;
    a.bring(ALL);
    expect([b.take(), c.take()]).toEqual([2, 1]);
    return expect(uncaught).resolves.toMatchObject({ message: 'and so does the handler' });
  });

  it('forgets what a port has taught when it leaves, and survives ports that come and go meanwhile', () => {
    const { hub, a, b, c, undo } = lan();
    for (let i = 0; i < 500; i++) b.bring(ALL, 0x060000000000 + i);
    c.bring(ALL);
    const late = new Probe(0x020000000009);
    a.onSend = () => {
      a.onSend = null;
      undo[1]();
      hub.connectL2(late);
    };
    [b, c].map((port) => port.take());
    c.bring(ALL);
    expect(b.take()).toBe(0);
    expect(late.take()).toBe(0);
    expect(hub.addressCount).toBe(1);
    c.bring(0x060000000007);
    expect([a.take() > 0, late.take()]).toEqual([true, 1]);
    undo[1]();
    expect(hub.portCount).toBe(3);
    b.bring(ALL);
    expect(late.take()).toBe(0);
  });

  it('CORE-10: keeps the MTU of a port', () => {
    const { hub, a, b, c } = lan();
    b.mtu = 1000;
    a.bring(ALL, A, 1014);
    a.bring(ALL, A, 1015);
    expect([b.take(), c.take(), hub.stats.dropTooBig]).toEqual([1, 2, 1]);
    const tagged = Frame.of(new Uint8Array(1018));
    tagged.dst = ALL;
    tagged.src = A;
    tagged.buf[12] = 0x81;
    a.handler(tagged);
    expect(b.take()).toBe(1);
  });

  it('CORE-20: says which option to change, and refuses one device twice', () => {
    const { hub, a } = lan({ maxPorts: 3 });
    expect(() => hub.connectL2(new Probe(7))).toThrow(/maxPorts/);
    expect(() => hub.connectL2(a)).toThrow(PktkitError);
    expect(() => new L2Hub({ maxPorts: 0 })).toThrow(/maxPorts/);
    expect(() => new L2Hub({ ageing: 0 })).toThrow(/ageing/);
  });

  it('never throws and never delivers twice or to the sender, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), fc.uint8Array({ maxLength: 80 }))), (frames) => {
        const { a, b, c } = lan({ maxAddresses: 3 });
        const ports = [a, b, c];
        for (const [from, bytes] of frames) {
          ports[from].handler(Frame.of(bytes));
          const got = ports.map((port) => port.take());
          expect(got[from]).toBe(0);
          expect(Math.max(...got)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});
