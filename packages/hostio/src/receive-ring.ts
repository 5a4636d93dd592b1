/**
 * Receiving in batches: `recvmmsg` into slots of 64 KiB, each of which UDP_GRO may fill with many datagrams of one sender.
 * The slots belong to the thread, not to the socket: a call and the handlers it feeds end before the next socket's turn.
 */

import { getInt32, HEADROOM, V4_MAPPED_WORD } from '@pktkit/core';
import { Arena } from './arena.ts';
import { MSG_TRUNC, SOL_SOCKET } from './linux.ts';
import {
  CMSG_HEADER,
  IOVEC,
  IP_PKTINFO,
  IP_TOS,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  MMSGHDR,
  MSG_CONTROL,
  MSG_CONTROLLEN,
  MSG_FLAGS,
  MSG_IOV,
  MSG_IOVLEN,
  MSG_LEN,
  MSG_NAME,
  MSG_NAMELEN,
  SO_RXQ_OVFL,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_GRO,
} from './msghdr.ts';
import { SOCKADDR_SIZE } from './sockaddr.ts';

/** Messages per call. */
export const RECEIVE_SLOTS = 16;
const NAME = 32;
const CONTROL = 192;
/** The largest that GRO builds fits, with headroom in front and no two slots' starts on the same cache set. */
const DATA = HEADROOM + 65536 + 32;

const HEADERS_AT = 0;
const IOVECS_AT = HEADERS_AT + RECEIVE_SLOTS * MMSGHDR;
const NAMES_AT = IOVECS_AT + RECEIVE_SLOTS * IOVEC;
const CONTROLS_AT = NAMES_AT + RECEIVE_SLOTS * NAME;
const DATA_AT = CONTROLS_AT + RECEIVE_SLOTS * CONTROL;

/** What the control messages of one datagram said. */
export interface Ancillary {
  /** Bytes per datagram when GRO has merged several; 0 otherwise. */
  segment: number;
  /** -1 when unknown. */
  tos: number;
  /** The address written to, in words, and the interface; `index` is 0 when unknown. */
  local0: number;
  local1: number;
  local2: number;
  local3: number;
  index: number;
  /** Datagrams that the socket has lost so far; -1 when none were reported. */
  lost: number;
}

export class ReceiveRing {
  readonly arena: Arena = new Arena(DATA_AT + RECEIVE_SLOTS * DATA);
  readonly ancillary: Ancillary = {
    segment: 0,
    tos: -1,
    local0: 0,
    local1: 0,
    local2: 0,
    local3: 0,
    index: 0,
    lost: -1,
  };

  constructor() {
    const { arena } = this;
    for (let i = 0; i < RECEIVE_SLOTS; i++) {
      const header = HEADERS_AT + i * MMSGHDR;
      const iovec = IOVECS_AT + i * IOVEC;
      arena.putU64(header + MSG_NAME, arena.base + NAMES_AT + i * NAME);
      arena.putU64(header + MSG_IOV, arena.base + iovec);
      arena.putU64(header + MSG_IOVLEN, 1);
      arena.putU64(header + MSG_CONTROL, arena.base + CONTROLS_AT + i * CONTROL);
      arena.putU64(iovec, arena.base + this.dataAt(i));
      arena.putU64(iovec + 8, DATA - HEADROOM);
    }
  }

  /** Address of the message headers. */
  get address(): number {
    return this.arena.base + HEADERS_AT;
  }

  /** Makes the slots ready; the kernel overwrites the lengths of those it uses. */
  prepare(used: number): void {
    const { u32 } = this.arena;
    for (let i = 0; i < used; i++) {
      const at = (HEADERS_AT + i * MMSGHDR) >>> 2;
      u32[at + (MSG_NAMELEN >>> 2)] = SOCKADDR_SIZE;
      u32[at + (MSG_CONTROLLEN >>> 2)] = CONTROL;
      u32[at + (MSG_FLAGS >>> 2)] = 0;
    }
  }

  length(slot: number): number {
    return this.arena.u32[(HEADERS_AT + slot * MMSGHDR + MSG_LEN) >>> 2];
  }

  isTruncated(slot: number): boolean {
    return (this.arena.u32[(HEADERS_AT + slot * MMSGHDR + MSG_FLAGS) >>> 2] & MSG_TRUNC) !== 0;
  }

  nameAt(slot: number): number {
    return NAMES_AT + slot * NAME;
  }

  /** Where a control message of this kind has its data, or -1. */
  controlAt(slot: number, wantedLevel: number, wantedType: number): number {
    const { u32 } = this.arena;
    let at = CONTROLS_AT + slot * CONTROL;
    const end = at + u32[(HEADERS_AT + slot * MMSGHDR + MSG_CONTROLLEN) >>> 2];
    while (at + CMSG_HEADER <= end) {
      const length = u32[at >>> 2];
      if (length < CMSG_HEADER || at + length > end) return -1;
      if (u32[(at + 8) >>> 2] === wantedLevel && u32[(at + 12) >>> 2] === wantedType) {
        return at + CMSG_HEADER;
      }
      at += (length + 7) & ~7;
    }
    return -1;
  }

  dataAt(slot: number): number {
    return DATA_AT + slot * DATA + HEADROOM;
  }

  /** Reads a slot's control messages into `ancillary`. */
  readAncillary(slot: number): void {
    const { arena, ancillary: to } = this;
    const { u32, bytes } = arena;
    to.segment = 0;
    to.tos = -1;
    to.index = 0;
    to.lost = -1;
    let at = CONTROLS_AT + slot * CONTROL;
    const end = at + u32[(HEADERS_AT + slot * MMSGHDR + MSG_CONTROLLEN) >>> 2];
    while (at + CMSG_HEADER <= end) {
      const length = u32[at >>> 2];
      const level = u32[(at + 8) >>> 2];
      const type = u32[(at + 12) >>> 2];
      const data = at + CMSG_HEADER;
      if (length < CMSG_HEADER || at + length > end) return;
      if (level === SOL_UDP && type === UDP_GRO) {
        to.segment = u32[data >>> 2];
      } else if (level === SOL_IP && type === IP_TOS) {
        to.tos = bytes[data];
      } else if (level === SOL_IPV6 && type === IPV6_TCLASS) {
        to.tos = u32[data >>> 2] & 0xff;
      } else if (level === SOL_IP && type === IP_PKTINFO) {
        to.local0 = 0;
        to.local1 = 0;
        to.local2 = V4_MAPPED_WORD;
        // ipi_spec_dst: for a broadcast or multicast datagram, the address to answer from.
        to.local3 = getInt32(bytes, data + 4);
        to.index = u32[data >>> 2];
      } else if (level === SOL_IPV6 && type === IPV6_PKTINFO) {
        to.local0 = getInt32(bytes, data);
        to.local1 = getInt32(bytes, data + 4);
        to.local2 = getInt32(bytes, data + 8);
        to.local3 = getInt32(bytes, data + 12);
        to.index = u32[(data + 16) >>> 2];
      } else if (level === SOL_SOCKET && type === SO_RXQ_OVFL) {
        to.lost = u32[data >>> 2];
      }
      at += (length + 7) & ~7;
    }
  }
}

let ring: ReceiveRing | null = null;

/** This thread's slots. */
export function receiveRing(): ReceiveRing {
  ring ??= new ReceiveRing();
  return ring;
}
