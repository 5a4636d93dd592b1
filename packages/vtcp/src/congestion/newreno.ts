/** NewReno (RFC 5681, with appropriate byte counting of RFC 3465): the plain controller and the base of the others. */

import type { AckSample, CongestionConfig, CongestionController } from './congestion.ts';
import { HyStart } from './hystart.ts';

export class NewReno implements CongestionController {
  readonly name: string = 'newreno';
  cwnd: number;
  ssthresh: number = Number.POSITIVE_INFINITY;
  mss: number;
  initialWindow: number;
  readonly #useHystart: boolean;
  #hystart: HyStart | null = null;
  #credit = 0;
  /** What the last reduction found; null before the first. */
  #prior: { cwnd: number; ssthresh: number } | null = null;

  constructor(config: CongestionConfig) {
    this.mss = config.mss;
    this.initialWindow = config.initialWindow;
    this.cwnd = config.initialWindow;
    this.#useHystart = config.hystart;
  }

  onAck(sample: AckSample): void {
    if (!sample.cwndLimited) return;
    let acked = sample.acked;
    if (this.cwnd < this.ssthresh) {
      acked = this.slowStart(sample);
      if (acked <= 0) return;
    }
    this.avoid(sample, acked);
  }

  /** Grows towards `ssthresh` and gives the acknowledged bytes that were not used up. */
  slowStart(sample: AckSample): number {
    let growth = sample.acked;
    if (this.#useHystart && this.ssthresh === Number.POSITIVE_INFINITY) {
      this.#hystart ??= new HyStart();
      growth /= this.#hystart.onAck(sample);
      if (this.#hystart.isDone) {
        this.ssthresh = this.cwnd;
        return sample.acked;
      }
    }
    const room = this.ssthresh - this.cwnd;
    if (growth <= room) {
      this.cwnd += Math.floor(growth);
      return 0;
    }
    this.cwnd = this.ssthresh;
    return Math.floor(growth - room);
  }

  /** Congestion avoidance: one segment per window of acknowledged bytes (RFC 5681 §3.1, formula 3). */
  avoid(_sample: AckSample, acked: number): void {
    this.addPer(this.cwnd, acked);
  }

  /** One more segment for every `bytes` acknowledged. */
  addPer(bytes: number, acked: number): void {
    this.#credit += acked;
    const window = Math.max(this.mss, bytes);
    if (this.#credit < window) return;
    const segments = Math.floor(this.#credit / window);
    this.#credit -= segments * window;
    this.cwnd += segments * this.mss;
  }

  onCongestion(inFlight: number, now: number, byEcn: boolean): void {
    this.remember();
    this.ssthresh = Math.max(2 * this.mss, Math.floor(this.reduced(inFlight, now, byEcn)));
    this.#credit = 0;
  }

  onTimeout(inFlight: number, now: number): void {
    // A second timeout in a row must not lose what a spurious first one would restore (RFC 5682 §3).
    if (this.cwnd > this.mss) {
      this.remember();
      this.ssthresh = Math.max(2 * this.mss, Math.floor(this.reduced(inFlight, now, false)));
    }
    this.cwnd = this.mss;
    this.#credit = 0;
  }

  /** Where a reduction leads. RFC 5681 §3.1 formula 4, on the window: what is in flight may be momentarily low. */
  reduced(_inFlight: number, _now: number, _byEcn: boolean): number {
    return this.cwnd / 2;
  }

  remember(): void {
    this.#prior = { cwnd: this.cwnd, ssthresh: this.ssthresh };
  }

  onSpurious(): void {
    if (this.#prior === null) return;
    this.cwnd = Math.max(this.cwnd, this.#prior.cwnd);
    this.ssthresh = Math.max(this.ssthresh, this.#prior.ssthresh);
  }

  onIdle(idle: number, rto: number): void {
    // RFC 2861's decay, gentler than the restart of RFC 5681 §4.1: half for each timeout of silence.
    const restart = Math.min(this.initialWindow, this.cwnd);
    this.ssthresh = Math.max(this.ssthresh, Math.floor((this.cwnd * 3) / 4));
    let cwnd = this.cwnd;
    for (let left = idle - rto; left > 0 && cwnd > restart; left -= rto) cwnd /= 2;
    this.cwnd = Math.max(Math.floor(cwnd), restart);
  }

  onMss(mss: number): void {
    const segments = this.cwnd / this.mss;
    // Windows are counted in segments: the handshake begins before the peer's segment size is known.
    this.initialWindow = Math.round(this.initialWindow / this.mss) * mss;
    this.mss = mss;
    this.cwnd = Math.max(mss, Math.round(segments) * mss);
  }
}
