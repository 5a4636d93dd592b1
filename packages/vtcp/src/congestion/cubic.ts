/** CUBIC (RFC 9438): the window as a cubic function of the time since the last reduction. Windows here are in segments. */

import type { AckSample } from './congestion.ts';
import { NewReno } from './newreno.ts';

const C = 0.4;
const BETA = 0.7;
/** §4.3: additive increase that matches Reno's rate for this beta. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
const NOT_BEGUN = Number.NEGATIVE_INFINITY;

/** The cubic function of one epoch, windows in segments. */
class Curve {
  wMax = 0;
  /** Seconds from the epoch's start until the plateau. */
  k = 0;
  /** When it began: with the first growth after a reduction. */
  epoch: number = NOT_BEGUN;
  wEst = 0;
  cwndPrior = 0;
  lastAck = 0;

  constructor(from: Curve | null = null) {
    if (from === null) return;
    this.wMax = from.wMax;
    this.k = from.k;
    this.epoch = from.epoch;
    this.wEst = from.wEst;
    this.cwndPrior = from.cwndPrior;
    this.lastAck = from.lastAck;
  }
}

export class Cubic extends NewReno {
  override readonly name = 'cubic';
  /** Null until slow start has ended: most connections never get there. */
  #curve: Curve | null = null;
  #saved: Curve | null = null;

  override avoid(sample: AckSample, acked: number): void {
    const cwnd = this.cwnd / this.mss;
    this.#curve ??= new Curve();
    const curve = this.#curve;
    if (curve.epoch === NOT_BEGUN) {
      curve.epoch = sample.now;
      // §4.2: after slow start without a loss there is no plateau above; growth starts from here (§4.10).
      if (curve.wMax <= cwnd) {
        curve.wMax = cwnd;
        curve.k = 0;
      } else {
        curve.k = Math.cbrt((curve.wMax - cwnd) / C);
      }
      curve.wEst = cwnd;
    } else if (sample.now - curve.lastAck > Math.max(1000, 2 * sample.srtt)) {
      // §5.8: time in which the window was not the limit does not count.
      curve.epoch += sample.now - curve.lastAck;
    }
    curve.lastAck = sample.now;
    const t = (sample.now - curve.epoch + sample.srtt) / 1000;
    const offset = t - curve.k;
    const target = Math.min(
      Math.max(C * offset * offset * offset + curve.wMax, cwnd),
      1.5 * cwnd, // §4.4
    );
    // §4.3: once past the window before the reduction, Reno would grow with alpha 1.
    const alpha = curve.wEst >= curve.cwndPrior ? 1 : ALPHA;
    curve.wEst += (alpha * (acked / this.mss)) / cwnd;
    if (target > cwnd) this.addPer(this.cwnd / (target - cwnd), acked);
    else this.addPer(this.cwnd * 100, acked);
    if (this.cwnd < Math.floor(curve.wEst) * this.mss)
      this.cwnd = Math.floor(curve.wEst) * this.mss;
  }

  override reduced(_inFlight: number, _now: number, _byEcn: boolean): number {
    const cwnd = this.cwnd / this.mss;
    this.#curve ??= new Curve();
    const curve = this.#curve;
    curve.epoch = NOT_BEGUN;
    curve.cwndPrior = cwnd;
    // §4.7, fast convergence: a flow that lost before it regained its window leaves room for new ones.
    curve.wMax = cwnd < curve.wMax ? (cwnd * (1 + BETA)) / 2 : cwnd;
    return this.cwnd * BETA;
  }

  override remember(): void {
    super.remember();
    this.#saved = new Curve(this.#curve);
  }

  override onSpurious(): void {
    super.onSpurious();
    if (this.#saved === null) return;
    // §4.9: as if the reduction had not been. The time of the last acknowledgement stays true.
    this.#saved.lastAck = this.#curve?.lastAck ?? 0;
    this.#curve = this.#saved;
    this.#saved = null;
  }

  override onIdle(idle: number, rto: number): void {
    super.onIdle(idle, rto);
    if (this.#curve !== null && this.#curve.epoch !== NOT_BEGUN) this.#curve.epoch += idle;
  }
}
