/**
 * Times and byte counts of a connection. V8 boxes a field that is not a small integer: 16 bytes besides its place in the
 * object. In one array of nothing but doubles each takes 8, and thousands of idle connections are what a stack's memory goes to.
 */

import { Flow, type FlowKey } from './flow.ts';

const NEVER = Number.POSITIVE_INFINITY;

const RETRANS_AT = 0;
const ACK_AT = 1;
const KEEP_AT = 2;
const LIFE_AT = 3;
const PACE_AT = 4;
const CORK_AT = 5;
const WAITING_SINCE = 6;
const PACE_NEXT = 7;
const LAST_SENT_AT = 8;
const LAST_HEARD_AT = 9;
const LAST_OOW_ACK = 10;
const TS_RECENT_AT = 11;
const TUNE_AT = 12;
const RCV_RTT = 13;
const RCV_RTT_AT = 14;
const RACK_SENT_AT = 15;
const RACK_RTT = 16;
const BYTES_SENT = 17;
const BYTES_ACKED = 18;
const BYTES_RECEIVED = 19;

const INITIAL: readonly number[] = initial();

function initial(): number[] {
  const numbers = Array.from({ length: BYTES_RECEIVED + 1 }, () => 0);
  for (let i = RETRANS_AT; i <= WAITING_SINCE; i++) numbers[i] = NEVER;
  numbers[LAST_OOW_ACK] = Number.NEGATIVE_INFINITY;
  numbers[RACK_SENT_AT] = -1;
  return numbers;
}

export abstract class FlowWithNumbers extends Flow {
  readonly #numbers: number[];

  constructor(key: FlowKey | Flow) {
    super(key);
    this.#numbers = INITIAL.slice();
  }

  // Deadlines; `NEVER` when off.

  get retransAt(): number {
    return this.#numbers[RETRANS_AT];
  }

  set retransAt(value: number) {
    this.#numbers[RETRANS_AT] = value;
  }

  get ackAt(): number {
    return this.#numbers[ACK_AT];
  }

  set ackAt(value: number) {
    this.#numbers[ACK_AT] = value;
  }

  get keepAt(): number {
    return this.#numbers[KEEP_AT];
  }

  set keepAt(value: number) {
    this.#numbers[KEEP_AT] = value;
  }

  get lifeAt(): number {
    return this.#numbers[LIFE_AT];
  }

  set lifeAt(value: number) {
    this.#numbers[LIFE_AT] = value;
  }

  get paceAt(): number {
    return this.#numbers[PACE_AT];
  }

  set paceAt(value: number) {
    this.#numbers[PACE_AT] = value;
  }

  get corkAt(): number {
    return this.#numbers[CORK_AT];
  }

  set corkAt(value: number) {
    this.#numbers[CORK_AT] = value;
  }

  // Other times.

  /** When the oldest unacknowledged byte began to wait. */
  get waitingSince(): number {
    return this.#numbers[WAITING_SINCE];
  }

  set waitingSince(value: number) {
    this.#numbers[WAITING_SINCE] = value;
  }

  get paceNext(): number {
    return this.#numbers[PACE_NEXT];
  }

  set paceNext(value: number) {
    this.#numbers[PACE_NEXT] = value;
  }

  get lastSentAt(): number {
    return this.#numbers[LAST_SENT_AT];
  }

  set lastSentAt(value: number) {
    this.#numbers[LAST_SENT_AT] = value;
  }

  get lastHeardAt(): number {
    return this.#numbers[LAST_HEARD_AT];
  }

  set lastHeardAt(value: number) {
    this.#numbers[LAST_HEARD_AT] = value;
  }

  get lastOowAck(): number {
    return this.#numbers[LAST_OOW_ACK];
  }

  set lastOowAck(value: number) {
    this.#numbers[LAST_OOW_ACK] = value;
  }

  get tsRecentAt(): number {
    return this.#numbers[TS_RECENT_AT];
  }

  set tsRecentAt(value: number) {
    this.#numbers[TS_RECENT_AT] = value;
  }

  get tuneAt(): number {
    return this.#numbers[TUNE_AT];
  }

  set tuneAt(value: number) {
    this.#numbers[TUNE_AT] = value;
  }

  /** 0 before the first measure. */
  get rcvRtt(): number {
    return this.#numbers[RCV_RTT];
  }

  set rcvRtt(value: number) {
    this.#numbers[RCV_RTT] = value;
  }

  get rcvRttAt(): number {
    return this.#numbers[RCV_RTT_AT];
  }

  set rcvRttAt(value: number) {
    this.#numbers[RCV_RTT_AT] = value;
  }

  /** Below 0 before the first delivery. */
  get rackSentAt(): number {
    return this.#numbers[RACK_SENT_AT];
  }

  set rackSentAt(value: number) {
    this.#numbers[RACK_SENT_AT] = value;
  }

  get rackRtt(): number {
    return this.#numbers[RACK_RTT];
  }

  set rackRtt(value: number) {
    this.#numbers[RACK_RTT] = value;
  }

  // Byte counts: they outgrow small integers.

  get bytesSent(): number {
    return this.#numbers[BYTES_SENT];
  }

  set bytesSent(value: number) {
    this.#numbers[BYTES_SENT] = value;
  }

  get bytesAcked(): number {
    return this.#numbers[BYTES_ACKED];
  }

  set bytesAcked(value: number) {
    this.#numbers[BYTES_ACKED] = value;
  }

  get bytesReceived(): number {
    return this.#numbers[BYTES_RECEIVED];
  }

  set bytesReceived(value: number) {
    this.#numbers[BYTES_RECEIVED] = value;
  }
}
