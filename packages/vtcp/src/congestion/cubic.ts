/** CUBIC (RFC 9438): the window as a cubic function of the time since the last reduction. Windows here are in segments. */

import type { AckSample, CongestionConfig } from './congestion.ts';
import { NewReno } from './newreno.ts';

const C = 0.4;
const BETA = 0.7;
/** §4.3: additive increase that matches Reno's rate for this beta. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

export class Cubic extends NewReno {
  override readonly name = 'cubic';
  #wMax = 0.5;
  /** Seconds from the epoch's start until the plateau. */
  #k = 0.5;
  #epoch: number = Number.NEGATIVE_INFINITY;
  #wEst = 0.5;
  #cwndPrior = 0.5;
  #lastAck = 0.5;
  #saved: CubicState | null = null;

  constructor(config: CongestionConfig) {
    super(config);
    this.#wMax = 0;
    this.#cwndPrior = 0;
  }

  override avoid(sample: AckSample, acked: number): void {
    const cwnd = this.cwnd / this.mss;
    if (this.#epoch === Number.NEGATIVE_INFINITY) {
      this.#epoch = sample.now;
      // §4.2: after slow start without a loss there is no plateau above; growth starts from here (§4.10).
      if (this.#wMax <= cwnd) {
        this.#wMax = cwnd;
        this.#k = 0;
      } else {
        this.#k = Math.cbrt((this.#wMax - cwnd) / C);
      }
      this.#wEst = cwnd;
    } else if (sample.now - this.#lastAck > Math.max(1000, 2 * sample.srtt)) {
      // §5.8: time in which the window was not the limit does not count.
      this.#epoch += sample.now - this.#lastAck;
    }
    this.#lastAck = sample.now;
    const t = (sample.now - this.#epoch + sample.srtt) / 1000;
    const offset = t - this.#k;
    const target = Math.min(
      Math.max(C * offset * offset * offset + this.#wMax, cwnd),
      1.5 * cwnd, // §4.4
    );
    // §4.3: once past the window before the reduction, Reno would grow with alpha 1.
    const alpha = this.#wEst >= this.#cwndPrior ? 1 : ALPHA;
    this.#wEst += (alpha * (acked / this.mss)) / cwnd;
    if (target > cwnd) this.addPer(this.cwnd / (target - cwnd), acked);
    else this.addPer(this.cwnd * 100, acked);
    if (this.cwnd < Math.floor(this.#wEst) * this.mss)
      this.cwnd = Math.floor(this.#wEst) * this.mss;
  }

  override reduced(_inFlight: number, _now: number, _byEcn: boolean): number {
    const cwnd = this.cwnd / this.mss;
    this.#epoch = Number.NEGATIVE_INFINITY;
    this.#cwndPrior = cwnd;
    // §4.7, fast convergence: a flow that lost before it regained its window leaves room for new ones.
    this.#wMax = cwnd < this.#wMax ? (cwnd * (1 + BETA)) / 2 : cwnd;
    return this.cwnd * BETA;
  }

  override remember(): void {
    super.remember();
    this.#saved = {
      wMax: this.#wMax,
      k: this.#k,
      epoch: this.#epoch,
      wEst: this.#wEst,
      cwndPrior: this.#cwndPrior,
    };
  }

  override onSpurious(): void {
    super.onSpurious();
    const saved = this.#saved;
    if (saved === null) return;
    // §4.9: as if the reduction had not been.
    this.#wMax = saved.wMax;
    this.#k = saved.k;
    this.#epoch = saved.epoch;
    this.#wEst = saved.wEst;
    this.#cwndPrior = saved.cwndPrior;
    this.#saved = null;
  }

  override onIdle(idle: number, rto: number): void {
    super.onIdle(idle, rto);
    if (this.#epoch !== Number.NEGATIVE_INFINITY) this.#epoch += idle;
  }
}

interface CubicState {
  wMax: number;
  k: number;
  epoch: number;
  wEst: number;
  cwndPrior: number;
}
