/**
 * The device contracts of `core/src/device.ts` as tests. Every implementation imports the suite for its layer and says
 * how to reach the far side of the device. Works under vitest and node:test: the caller passes `{ describe, it }`.
 * Windows are poisoned in both directions.
 */

import assert from 'node:assert/strict';
import {
  Accept,
  Frame,
  type L2Device,
  type L3Device,
  Packet,
  Prefix,
  sendL2,
  sendL3,
} from '@pktkit/core';
import { poisonL2, poisonL3 } from './poison.ts';

export interface SuiteApi {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}

/** A device under test with a hand on its far side. */
export interface DeviceRig<D> {
  readonly device: D;
  /** Makes the far side give these bytes to the device, which brings them to its handler. */
  inject(bytes: Uint8Array): void;
  /** Whole copies of what the far side has received, oldest first. */
  readonly received: readonly Uint8Array[];
  /** Lets I/O or virtual time happen until `condition` holds; rejects when it does not. */
  until(condition: () => boolean): Promise<void>;
  /** Lets happen what would happen by itself, for checks that something does *not* arrive. */
  settle(): Promise<void>;
  /** Frees what the rig made besides the device. */
  close?(): Promise<void> | void;
}

export type L2Rig = DeviceRig<L2Device>;
export type L3Rig = DeviceRig<L3Device>;

/** What every `L2Device` keeps. `rig` is called anew for each case. */
export function l2DeviceSuite(
  api: SuiteApi,
  name: string,
  rig: () => L2Rig | Promise<L2Rig>,
): void {
  deviceSuite<L2Device, Frame>(api, `${name} keeps the L2Device contract`, rig, {
    poison: poisonL2,
    window: (buf, off, len) => new Frame(buf, off, len),
    send: sendL2,
    sizes: (device) => [14, 15, 60, 61, 14 + device.mtu],
    make: makeFrame,
    tooShort: 13,
    check(device) {
      assert.equal(device.mac.isMulticast, false, 'mac is a unicast address');
    },
  });
}

/** What every `L3Device` keeps. `rig` is called anew for each case. */
export function l3DeviceSuite(
  api: SuiteApi,
  name: string,
  rig: () => L3Rig | Promise<L3Rig>,
): void {
  deviceSuite<L3Device, Packet>(api, `${name} keeps the L3Device contract`, rig, {
    poison: poisonL3,
    window: (buf, off, len) => new Packet(buf, off, len),
    send: sendL3,
    sizes: (device) => [28, 29, 60, device.mtu],
    make: makeUdp4,
    tooShort: 19,
    check(device) {
      const addrs = [Prefix.parse('192.0.2.1/24'), Prefix.parse('2001:db8::1/64')];
      device.setAddrs(addrs);
      assert.deepEqual(device.addrs.map(String), addrs.map(String));
      device.setAddrs([]);
      assert.equal(device.addrs.length, 0);
    },
  });
}

interface Port<W> {
  readonly mtu: number;
  readonly accepts: number;
  setHandler(handler: (window: W) => void): void;
  send(window: W): void;
  close(): void;
}

interface Layer<D, W> {
  poison(device: D): D;
  window(buf: Uint8Array, off: number, len: number): W;
  send(device: D, window: W): void;
  sizes(device: D): number[];
  make(size: number, seed: number): Uint8Array;
  tooShort: number;
  check(device: D): void;
}

function deviceSuite<D extends Port<W>, W extends Frame | Packet>(
  api: SuiteApi,
  title: string,
  makeRig: () => DeviceRig<D> | Promise<DeviceRig<D>>,
  layer: Layer<D, W>,
): void {
  const { it } = api;

  const withRig = (body: (rig: DeviceRig<D>, device: D) => Promise<void>) => async () => {
    const rig = await makeRig();
    try {
      await body(rig, layer.poison(rig.device));
    } finally {
      rig.device.close();
      await rig.close?.();
    }
  };

  /** Hands `bytes` to `send` in the middle of a larger buffer, as an engine with headroom would. */
  const sendBytes = (device: D, bytes: Uint8Array): Uint8Array => {
    const buf = new Uint8Array(bytes.length + 256);
    buf.set(bytes, 128);
    layer.send(device, layer.window(buf, 128, bytes.length));
    return buf.subarray(128, 128 + bytes.length);
  };

  /** The far side may add link padding or see other traffic of its own. */
  const has = (rig: DeviceRig<D>, bytes: Uint8Array) =>
    rig.received.some((got) => startsWith(got, bytes));

  api.describe(title, () => {
    it(
      'describes itself',
      withRig(async (_rig, device) => {
        assert(Number.isInteger(device.mtu) && device.mtu >= 576, `mtu ${device.mtu}`);
        assert.equal(device.accepts & ~Accept.ALL, 0, 'accepts holds only Accept bits');
        layer.check(device);
      }),
    );

    it(
      'carries what is sent, smallest to largest, and keeps no window',
      withRig(async (rig, device) => {
        const all = layer.sizes(device).map((size, i) => layer.make(size, i + 1));
        for (const bytes of all) sendBytes(device, bytes);
        await rig.until(() => all.every((bytes) => has(rig, bytes)));
      }),
    );

    it(
      'leaves the bytes of the window as they were',
      withRig(async (rig) => {
        for (const size of layer.sizes(rig.device)) {
          const bytes = layer.make(size, 5);
          // Not poisoned: the sender's own buffer is looked at.
          assert.deepEqual(sendBytes(rig.device, bytes), bytes);
        }
      }),
    );

    it(
      'brings what the far side gives, in order',
      withRig(async (rig, device) => {
        const all = layer.sizes(device).map((size, i) => layer.make(size, i + 1));
        const seen: Uint8Array[] = [];
        device.setHandler((window) => {
          if (all.some((bytes) => startsWith(window.bytes, bytes))) seen.push(window.bytes.slice());
        });
        for (const bytes of all) rig.inject(bytes);
        await rig.until(() => seen.length >= all.length);
        assert.equal(seen.length, all.length);
        all.forEach((bytes, i) => {
          assert(startsWith(seen[i], bytes), `number ${i} came out of order or changed`);
        });
      }),
    );

    it(
      'calls the handler set last',
      withRig(async (rig, device) => {
        const [first, second] = [layer.make(60, 1), layer.make(60, 2)];
        const seen: string[] = [];
        const note = (name: string) => (window: W) => {
          if (startsWith(window.bytes, first)) seen.push(`${name}1`);
          if (startsWith(window.bytes, second)) seen.push(`${name}2`);
        };
        device.setHandler(note('a'));
        rig.inject(first);
        await rig.until(() => seen.length === 1);
        device.setHandler(note('b'));
        rig.inject(second);
        await rig.until(() => seen.length === 2);
        assert.deepEqual(seen, ['a1', 'b2']);
      }),
    );

    it(
      'stands being called again from its own handler',
      withRig(async (rig, device) => {
        const question = layer.make(60, 1);
        const answer = layer.make(80, 2);
        device.setHandler((window) => {
          if (startsWith(window.bytes, question)) sendBytes(device, answer);
        });
        rig.inject(question);
        await rig.until(() => has(rig, answer));
      }),
    );

    it(
      'drops what is too short or too long without throwing, and works on',
      withRig(async (rig, device) => {
        const after = layer.make(60, 9);
        const windows = [0, 1, layer.tooShort].map((len) => layer.make(64, 7).subarray(0, len));
        windows.push(layer.make(70_000, 8).fill(0xff, 64));
        for (const bytes of windows) {
          device.send(layer.window(bytes.slice(), 0, bytes.length));
        }
        sendBytes(device, after);
        await rig.until(() => has(rig, after));
      }),
    );

    it(
      'after close drops what is sent and brings nothing more',
      withRig(async (rig, device) => {
        let calls = 0;
        const bytes = layer.make(60, 3);
        device.setHandler((window) => {
          if (startsWith(window.bytes, bytes)) calls++;
        });
        device.close();
        device.close();
        try {
          rig.inject(bytes);
        } catch {
          // The far side may be gone with the device.
        }
        device.send(layer.window(bytes.slice(), 0, bytes.length));
        await rig.settle();
        assert.equal(calls, 0);
        assert(!has(rig, bytes), 'nothing was carried after close');
      }),
    );
  });
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return bytes.length >= start.length && start.every((byte, i) => bytes[i] === byte);
}

/** A broadcast frame of an EtherType for experiments (IEEE 802 §9.2.3), told apart by `seed`. */
function makeFrame(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size).map((_, i) => (i * 7 + seed * 31) & 0xff);
  bytes.fill(0xff, 0, 6);
  bytes.set([0x02, 0, 0, 0, size >>> 8, seed, 0x88, 0xb5], 6);
  return bytes;
}

/** An IPv4 UDP datagram to the discard port of a documentation address, told apart by `seed`. */
function makeUdp4(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size).map((_, i) => (i * 7 + seed * 31) & 0xff);
  const view = new DataView(bytes.buffer);
  const total = size & 0xffff;
  bytes.set([0x45, 0, total >>> 8, total & 0xff, 0, seed, 0x40, 0, 64, 17, 0, 0]);
  bytes.set([192, 0, 2, 1, 192, 0, 2, 2], 12);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  view.setUint16(20, 40_000 + seed);
  view.setUint16(22, 9);
  view.setUint16(24, (size - 20) & 0xffff);
  // No UDP checksum (RFC 768): the suite looks at bytes, not at sums.
  view.setUint16(26, 0);
  return bytes;
}
