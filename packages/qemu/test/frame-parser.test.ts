import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameParser, MAX_FRAME } from '../src/frame-parser.ts';

function framed(frames: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(frames.reduce((sum, frame) => sum + 4 + frame.length, 0));
  let at = 0;
  for (const frame of frames) {
    new DataView(out.buffer).setUint32(at, frame.length);
    out.set(frame, at + 4);
    at += 4 + frame.length;
  }
  return out;
}

function collect(): { parser: FrameParser; frames: Uint8Array[] } {
  const frames: Uint8Array[] = [];
  const parser = new FrameParser((buf, off, len) => frames.push(buf.slice(off, off + len)));
  return { parser, frames };
}

const frame = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (i * 13 + seed) & 0xff);

describe('FrameParser', () => {
  it('finds the same frames however the stream is cut', () => {
    const anyFrames = fc.array(fc.uint8Array({ minLength: 14, maxLength: 80 }), { maxLength: 12 });
    const anyCuts = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(anyFrames, anyCuts, (sent, cuts) => {
        const stream = framed(sent);
        const { parser, frames } = collect();
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length];
          // In the middle of garbage and wiped afterwards: nothing may be read beyond or kept.
          const chunk = new Uint8Array(size + 20).fill(0xdb);
          const part = stream.subarray(at, at + size);
          chunk.set(part, 10);
          expect(parser.push(chunk, 10, part.length)).toBe(true);
          chunk.fill(0xdb);
          at += part.length;
        }
        expect(frames).toEqual(sent);
      }),
      { numRuns: 300 },
    );
  });

  it('never throws for any bytes, and delivers only what can be', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const { parser, frames } = collect();
        for (const chunk of chunks) if (!parser.push(chunk, 0, chunk.length)) break;
        for (const got of frames) expect(got.length).toBeGreaterThanOrEqual(14);
      }),
    );
  });

  it('takes the longest frame, passes over runts, refuses a length that cannot be', () => {
    const { parser, frames } = collect();
    const longest = frame(MAX_FRAME);
    const stream = framed([frame(0), frame(13), longest, frame(14)]);
    expect(parser.push(stream, 0, stream.length)).toBe(true);
    expect(frames).toEqual([longest, frame(14)]);
    expect(parser.runts).toBe(2);
    const bad = new Uint8Array([0, 1, 0x10, 1, 9, 9]);
    expect(parser.push(bad, 0, bad.length)).toBe(false);
    const split = collect();
    expect(split.parser.push(bad, 0, 3)).toBe(true);
    expect(split.parser.push(bad, 3, 1)).toBe(false);
  });

  it('delivers nothing more once it was stopped, not even from the same chunk', () => {
    let seen = 0;
    const parser = new FrameParser(() => {
      seen++;
      parser.stop();
    });
    const stream = framed([frame(20), frame(20), frame(20)]);
    parser.push(stream, 0, stream.length);
    expect(seen).toBe(1);
  });
});
