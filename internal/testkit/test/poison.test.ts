import { Frame, Packet, pipeL2 } from '@pktkit/core';
import { poisoningPipeL2, poisoningPipeL3, poisonL2 } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';

const bytes = Uint8Array.from({ length: 60 }, (_, i) => i);

describe('poisoning pipe', () => {
  it('delivers the bytes and scrambles them when the handler returns', () => {
    const [a, b] = poisoningPipeL2();
    let kept: Frame | null = null;
    let cloned: Frame | null = null;
    b.setHandler((frame) => {
      expect(frame.bytes).toEqual(bytes);
      kept = frame;
      cloned = frame.clone();
    });
    a.send(Frame.of(bytes));
    expect(kept!.bytes).not.toEqual(bytes);
    expect(cloned!.bytes).toEqual(bytes);
  });

  it('shows garbage around the window and leaves the sender its bytes', () => {
    const [a, b] = poisoningPipeL3();
    const mine = bytes.slice();
    b.setHandler((packet) => {
      expect(packet.buf[packet.off - 1]).toBe(0xdb);
      expect(packet.buf[packet.off + packet.len]).toBe(0xdb);
      packet.buf.fill(0);
    });
    a.send(Packet.of(mine));
    expect(mine).toEqual(bytes);
  });

  it('scrambles also when the handler throws', () => {
    const [a, b] = pipeL2();
    const poisoned = poisonL2(b);
    let kept: Frame | null = null;
    poisoned.setHandler((frame) => {
      kept = frame;
      throw new Error('boom');
    });
    expect(() => a.send(Frame.of(bytes))).toThrow('boom');
    expect(kept!.bytes).not.toEqual(bytes);
  });
});
