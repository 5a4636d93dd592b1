/**
 * Numbers of the WireGuard protocol (whitepaper of 2020-06-01, §5.4 and §6).
 *
 * Times are milliseconds. A device uses `TIMINGS`; tests hand an engine shorter ones through its `testTimings`
 * option, so that a rekey takes milliseconds. There is no other way to change them: both ends must agree.
 */

export const MessageType = {
  INITIATION: 1,
  RESPONSE: 2,
  COOKIE_REPLY: 3,
  TRANSPORT: 4,
} as const;

export const INITIATION_LENGTH = 148;
export const RESPONSE_LENGTH = 92;
export const COOKIE_REPLY_LENGTH = 64;
/** Type, receiver index, counter. */
export const TRANSPORT_HEADER = 16;
export const TAG = 16;
/** A keepalive: header and tag around nothing. */
export const TRANSPORT_MIN: number = TRANSPORT_HEADER + TAG;
/** Bytes that a data message adds to the (padded) packet in it. */
export const TRANSPORT_OVERHEAD: number = TRANSPORT_HEADER + TAG;
/** Data is padded to a multiple of this (§5.4.6), but not beyond the MTU. */
export const PADDING = 16;
/** Largest payload of a UDP datagram over IPv4. */
export const MAX_DATAGRAM = 65507;

/** 1500 less an outer IPv6 and UDP header and the data message's own 32 bytes: wg-quick's default. */
export const DEFAULT_MTU = 1420;

/** DSCP AF41, as Linux marks handshakes: they must get through when data does not. */
export const HANDSHAKE_TOS = 0x88;

export const KEY_LENGTH = 32;
export const MAC_LENGTH = 16;
export const TIMESTAMP_LENGTH = 12;

/** Counters that may arrive late: how far behind the newest one a data message may be. */
export const REPLAY_WINDOW = 8192;

/**
 * The first counter that is refused: 2^64 - 2^13 - 1 (§6.1). Its high half is all ones, this is its low half.
 */
export const REJECT_COUNTER_LOW = 0xffffdfff;
export const REJECT_COUNTER_HIGH = 0xffffffff;

export interface Timings {
  /** Rekey-After-Messages: 2^60. */
  readonly rekeyAfterMessages: number;
  readonly rekeyAfterTime: number;
  readonly rejectAfterTime: number;
  /** Rekey-Attempt-Time: after it a handshake is given up. */
  readonly rekeyAttemptTime: number;
  /** Rekey-Timeout: between two initiations to one peer. */
  readonly rekeyTimeout: number;
  readonly keepaliveTimeout: number;
  /** Up to so much is added to a retry, so that two ends that start at once do not stay in step. */
  readonly retryJitter: number;
  /** Cookie-Refresh-Time; the responder changes its secret as often. */
  readonly cookieTime: number;
  /** The shortest time between two initiations that are accepted from one peer. */
  readonly initiationSpacing: number;
}

export const TIMINGS: Timings = {
  rekeyAfterMessages: 2 ** 60,
  rekeyAfterTime: 120_000,
  rejectAfterTime: 180_000,
  rekeyAttemptTime: 90_000,
  rekeyTimeout: 5_000,
  keepaliveTimeout: 10_000,
  retryJitter: 334,
  cookieTime: 120_000,
  initiationSpacing: 20,
};
