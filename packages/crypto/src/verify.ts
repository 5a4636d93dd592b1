import type { Hasher } from './provider.ts';
import { checkWindow, equalConstantTime } from './windows.ts';

const scratch = new Uint8Array(64);

/** Ends a MAC's message and compares it with a tag. RFC 2104 §5 wants at least 80 bits of a truncated tag. */
export function verifyMac(mac: Hasher, tag: Uint8Array, tagOff: number, tagLen: number): boolean {
  if (tagLen > mac.length || tagLen < Math.min(10, mac.length)) {
    throw new RangeError(`a ${mac.name} tag has 10 to ${mac.length} bytes, not ${tagLen}`);
  }
  checkWindow(tag, tagOff, tagLen, 'tag');
  mac.finish(scratch, 0);
  const same = equalConstantTime(scratch, 0, tag, tagOff, tagLen);
  scratch.fill(0, 0, mac.length);
  return same;
}
