import { Frame, type L2Device, Packet, pipeL2, pipeL3 } from '@pktkit/core';
import { type L2Rig, l2DeviceSuite, l3DeviceSuite, type SuiteApi } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';

function rigOf(device: L2Device, far: L2Device): L2Rig {
  const received: Uint8Array[] = [];
  far.setHandler((frame) => received.push(frame.bytes.slice()));
  return {
    device,
    inject: (bytes) => far.send(Frame.of(bytes)),
    received,
    until: async (condition) => {
      if (!condition()) throw new Error('it did not come about');
    },
    settle: async () => {},
  };
}

/** A pipe that refuses what no device carries. */
function bounded(device: L2Device, changes: Partial<L2Device> = {}): L2Device {
  return {
    mac: device.mac,
    mtu: device.mtu,
    accepts: device.accepts,
    setHandler: (handler) => device.setHandler(handler),
    send: (frame) => device.send(frame),
    close: () => device.close(),
    ...changes,
  };
}

l2DeviceSuite({ describe, it }, 'a pipe end', () => {
  const [a, b] = pipeL2();
  return rigOf(a, b);
});

l3DeviceSuite({ describe, it }, 'a pipe end', () => {
  const [device, far] = pipeL3();
  const received: Uint8Array[] = [];
  far.setHandler((packet) => received.push(packet.bytes.slice()));
  return {
    device,
    inject: (bytes) => far.send(Packet.of(bytes)),
    received,
    until: async (condition) => {
      if (!condition()) throw new Error('it did not come about');
    },
    settle: async () => {},
  };
});

describe('the compliance suite', () => {
  async function failures(make: () => L2Rig): Promise<string[]> {
    const cases: [string, () => Promise<void>][] = [];
    const api: SuiteApi = {
      describe: (_name, body) => body(),
      it: (name, body) => cases.push([name, body]),
    };
    l2DeviceSuite(api, 'x', make);
    const failed: string[] = [];
    for (const [name, body] of cases) await body().catch(() => failed.push(name));
    return failed;
  }

  it('catches a device that keeps the window it was given', async () => {
    const failed = await failures(() => {
      const [a, b] = pipeL2();
      const kept: Frame[] = [];
      const rig = rigOf(bounded(a, { send: (frame) => void kept.push(frame) }), b);
      const until = rig.until;
      rig.until = (condition) => {
        for (const frame of kept.splice(0)) a.send(frame);
        return until(condition);
      };
      return rig;
    });
    expect(failed).toContain('carries what is sent, smallest to largest, and keeps no window');
  });

  it('catches a device that changes the sender’s window', async () => {
    const failed = await failures(() => {
      const [a, b] = pipeL2();
      const send = (frame: Frame) => {
        a.send(frame);
        frame.src = 0;
      };
      return rigOf(bounded(a, { send }), b);
    });
    expect(failed).toEqual(['leaves the bytes of the window as they were']);
  });

  it('catches a device that goes on after close, or throws for a long frame', async () => {
    const open = await failures(() => {
      const [a, b] = pipeL2();
      return rigOf(bounded(a, { close: () => {} }), b);
    });
    expect(open).toEqual(['after close drops what is sent and brings nothing more']);
    const strict = await failures(() => {
      const [a, b] = pipeL2();
      const send = (frame: Frame) => {
        if (frame.len > 1514) throw new RangeError('too long');
        a.send(frame);
      };
      return rigOf(bounded(a, { send }), b);
    });
    expect(strict).toEqual(['drops what is too short or too long without throwing, and works on']);
  });
});
