/** HighSpeed TCP (RFC 3649): larger steps and smaller reductions at large windows, Reno below 38 segments. */

import type { AckSample } from './congestion.ts';
import { NewReno } from './newreno.ts';

// §5: the response function's end points.
const LOW_WINDOW = 38;
const HIGH_WINDOW = 83_000;
const LOW_P = 1e-3;
const HIGH_P = 1e-7;
const HIGH_DECREASE = 0.1;

const LOG_SPAN = Math.log(HIGH_WINDOW) - Math.log(LOW_WINDOW);
const P_EXPONENT = (Math.log(HIGH_P) - Math.log(LOW_P)) / LOG_SPAN;

/** b(w): by which part of a window of `w` segments a loss reduces it. */
export function highSpeedDecrease(w: number): number {
  if (w <= LOW_WINDOW) return 0.5;
  const x = (Math.log(Math.min(w, HIGH_WINDOW)) - Math.log(LOW_WINDOW)) / LOG_SPAN;
  return (HIGH_DECREASE - 0.5) * x + 0.5;
}

/** a(w): segments added per round trip. */
export function highSpeedIncrease(w: number): number {
  if (w <= LOW_WINDOW) return 1;
  const b = highSpeedDecrease(w);
  const p = LOW_P * (w / LOW_WINDOW) ** P_EXPONENT;
  return Math.max(1, (w * w * p * 2 * b) / (2 - b));
}

export class HighSpeed extends NewReno {
  override readonly name = 'highspeed';

  override avoid(_sample: AckSample, acked: number): void {
    this.addPer(this.cwnd / highSpeedIncrease(this.cwnd / this.mss), acked);
  }

  override reduced(): number {
    return this.cwnd * (1 - highSpeedDecrease(this.cwnd / this.mss));
  }
}
