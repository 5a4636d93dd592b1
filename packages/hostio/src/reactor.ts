/**
 * One epoll set per thread for all descriptors of this package.
 *
 * **How it wakes.** libuv watches the epoll set itself, as one descriptor among its own, through a `dgram` socket whose
 * descriptor has been replaced by that of the set (`dup3`). When the set becomes readable libuv tries to receive from
 * it, fails with ENOTSOCK, and Node emits `error`: that is the wake-up. It looks odd and beats every other way:
 * - a blocking `epoll_wait` in koffi's asynchronous call takes a thread of libuv's pool of four for good, and Node
 *   waits for it when a worker is terminated;
 * - koffi's own poll handle calls into JavaScript while Node tears a thread down, and that aborts the process;
 * - this is an ordinary Node handle: `ref` and `unref` work, Node closes it natively when a thread ends in whatever way,
 *   and it wakes in 7 µs.
 *
 * **What a wake-up does.** It opens a batch on each clock in use, lets every ready descriptor deliver up to its own
 * budget, and ends the batch. The set is level-triggered and epoll rotates its ready list, so who has more waits its
 * turn: nobody starves. When traffic comes in quick succession (on average within `BRISK` of each other) the reactor polls
 * on for up to `SPIN` instead of sleeping, which saves the wake-up of a processor, and for at most `TURN` before it lets
 * the event loop run. Where polling on finds nothing, it soon stops.
 */

import { createSocket, type Socket } from 'node:dgram';
import { type Clock, PktkitError } from '@pktkit/core';
import { Arena } from './arena.ts';
import {
  AF_INET,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLL_EVENT_DATA,
  EPOLL_EVENT_SIZE,
  O_CLOEXEC,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
} from './linux.ts';
import { HostError, type Libc, libc } from './native.ts';

/** Told when its descriptor is ready; never blocks and reads at most a fair share. `events` are epoll's. */
export type Ready = (events: number) => void;

export interface ReactorStats {
  /** Times that libuv woke us. */
  wakeups: number;
  /** Turns that found something ready: `turns / wakeups` grows as spinning saves sleeps. */
  turns: number;
  /** Errors thrown by handlers; they are rethrown as uncaught. */
  errors: number;
}

/** A descriptor in the set. `remove` before the descriptor is closed. */
export class Registration {
  readonly fd: number;
  readonly clock: Clock;
  readonly ready: Ready;
  /** Place in the table and the times that the place was used: together they tell stale events from fresh ones. */
  readonly slot: number;
  readonly generation: number;
  #reactor: Reactor | null;
  #holding = false;

  constructor(
    reactor: Reactor,
    fd: number,
    clock: Clock,
    ready: Ready,
    slot: number,
    generation: number,
  ) {
    this.#reactor = reactor;
    this.fd = fd;
    this.clock = clock;
    this.ready = ready;
    this.slot = slot;
    this.generation = generation;
  }

  /** Replaces the events that are waited for. */
  watch(events: number): void {
    this.#reactor?.control(EPOLL_CTL_MOD, this, events);
  }

  /** Whether this descriptor keeps the process alive. */
  hold(on: boolean): void {
    if (on === this.#holding || this.#reactor === null) return;
    this.#holding = on;
    this.#reactor.count(on ? 1 : -1);
  }

  /** Idempotent; no event is delivered any more, not even one that was collected before. */
  remove(): void {
    const reactor = this.#reactor;
    if (reactor === null) return;
    this.hold(false);
    this.#reactor = null;
    reactor.drop(this);
  }
}

/** Events collected by one call. */
const MAX_EVENTS = 64;
/** Milliseconds between two arrivals, on average, that count as quick succession. */
const BRISK = 0.1;
/** Milliseconds that the reactor polls on. */
const SPIN = 0.05;
/** What polling on may fail in a row before it is left to every so many wake-ups. */
const PATIENCE = 8;
const PROBE = 32;
/** Milliseconds after which the event loop gets its turn. */
const TURN = 1;

class Reactor {
  readonly stats: ReactorStats = { wakeups: 0, turns: 0, errors: 0 };
  readonly #api: Libc = libc();
  readonly #arena: Arena = new Arena((MAX_EVENTS + 1) * 16);
  readonly #slots: Array<Registration | null> = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];
  readonly #clocks: Clock[] = [];
  readonly #clockUsers: number[] = [];
  #live = 0;
  #holds = 0;
  #epfd = -1;
  #handle: Socket | null = null;
  #turning = false;
  #idleSince = 0;
  #gap = 1;
  #patience = PATIENCE;

  add(fd: number, events: number, clock: Clock, ready: Ready): Registration {
    if (this.#handle === null) this.#open();
    const slot = this.#free.pop() ?? this.#slots.length;
    const generation = ((this.#generations[slot] ?? 0) + 1) >>> 0;
    const registration = new Registration(this, fd, clock, ready, slot, generation);
    try {
      this.control(EPOLL_CTL_ADD, registration, events);
    } catch (error) {
      this.#free.push(slot);
      this.#slots[slot] = null;
      if (this.#live === 0) this.#close();
      throw error;
    }
    this.#generations[slot] = generation;
    this.#slots[slot] = registration;
    this.#live++;
    const at = this.#clocks.indexOf(clock);
    if (at >= 0) {
      this.#clockUsers[at]++;
    } else {
      this.#clocks.push(clock);
      this.#clockUsers.push(1);
      if (this.#turning) clock.beginBatch();
    }
    return registration;
  }

  control(op: number, registration: Registration, events: number): void {
    const { view, base } = this.#arena;
    view.setUint32(0, events, true);
    view.setUint32(EPOLL_EVENT_DATA, registration.slot, true);
    view.setUint32(EPOLL_EVENT_DATA + 4, registration.generation, true);
    if (this.#api.epollCtl(this.#epfd, op, registration.fd, base) < 0) {
      throw new HostError('epoll_ctl', this.#api.errno(), `descriptor ${registration.fd}`);
    }
  }

  drop(registration: Registration): void {
    this.#slots[registration.slot] = null;
    this.#free.push(registration.slot);
    // It may fail because the descriptor is gone already, and then the kernel has dropped it from the set.
    this.#api.epollCtl(this.#epfd, EPOLL_CTL_DEL, registration.fd, this.#arena.base);
    const at = this.#clocks.indexOf(registration.clock);
    // A clock in the middle of a turn leaves the list when the turn ends, after its batch.
    if (--this.#clockUsers[at] === 0 && !this.#turning) this.#forgetClocks();
    if (--this.#live === 0 && !this.#turning) this.#close();
  }

  count(change: number): void {
    this.#holds += change;
    if (this.#holds > 0) this.#handle?.ref();
    else this.#handle?.unref();
  }

  #open(): void {
    const api = this.#api;
    const epfd = api.epollCreate1(O_CLOEXEC);
    if (epfd < 0) throw new HostError('epoll_create1', api.errno(), 'the reactor cannot start');
    const fd = api.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      const errno = api.errno();
      api.close(epfd);
      throw new HostError('socket', errno, 'the reactor cannot start');
    }
    const handle = createSocket('udp4');
    handle.on('error', (error) => {
      if ((error as NodeJS.ErrnoException).syscall === 'recvmsg') this.#onWake();
    });
    // libuv starts to watch a descriptor when the loop next waits, so it never sees the socket that this was.
    handle.bind({ fd });
    api.dup3(epfd, fd, O_CLOEXEC);
    api.close(epfd);
    handle.unref();
    this.#epfd = fd;
    this.#handle = handle;
  }

  #close(): void {
    this.#handle?.close();
    this.#handle = null;
    this.#epfd = -1;
    this.#slots.length = 0;
    this.#free.length = 0;
    // Generations stay: an event can be stale across a close too.
  }

  #onWake(): void {
    this.stats.wakeups++;
    const started = performance.now();
    this.#noteGap(started - this.#idleSince);
    const spin =
      this.#gap < BRISK && (this.#patience > 0 || this.stats.wakeups % PROBE === 0) ? SPIN : 0;
    let last = started;
    let now = started;
    let turns = 0;
    do {
      if (this.#turn()) {
        now = performance.now();
        if (turns++ > 0) this.#noteGap(now - last);
        last = now;
      } else {
        now = performance.now();
      }
    } while (this.#live > 0 && now - last < spin && now - started < TURN);
    if (spin > 0) this.#patience = turns > 1 ? PATIENCE : Math.max(0, this.#patience - 1);
    this.#idleSince = last;
  }

  /** A moving average, so that one pause does not end a busy phase, nor one burst begin one. */
  #noteGap(gap: number): void {
    this.#gap += (Math.min(gap, 1) - this.#gap) * 0.125;
  }

  /** Delivers what is ready; false when nothing was. */
  #turn(): boolean {
    const { base, view } = this.#arena;
    const first = EPOLL_EVENT_SIZE;
    const count = this.#api.epollWait(this.#epfd, base + first, MAX_EVENTS, 0);
    if (count <= 0) return false;
    this.stats.turns++;
    this.#turning = true;
    const clocks = this.#clocks;
    for (let i = 0; i < clocks.length; i++) clocks[i].beginBatch();
    for (let i = 0, at = first; i < count; i++, at += EPOLL_EVENT_SIZE) {
      const registration = this.#slots[view.getUint32(at + EPOLL_EVENT_DATA, true)];
      const generation = view.getUint32(at + EPOLL_EVENT_DATA + 4, true);
      if (registration == null || registration.generation !== generation) continue;
      try {
        registration.ready(view.getUint32(at, true));
      } catch (error) {
        this.stats.errors++;
        rethrowLater(error);
      }
    }
    for (let i = 0; i < clocks.length; i++) clocks[i].endBatch();
    this.#turning = false;
    this.#forgetClocks();
    if (this.#live === 0) this.#close();
    return true;
  }

  #forgetClocks(): void {
    for (let i = this.#clocks.length - 1; i >= 0; i--) {
      if (this.#clockUsers[i] > 0) continue;
      this.#clocks.splice(i, 1);
      this.#clockUsers.splice(i, 1);
    }
  }
}

/** An error of a handler, which nobody on the stack can deal with: as an uncaught exception. */
export function rethrowLater(error: unknown): void {
  setTimeout(() => {
    throw error;
  }, 0);
}

let current: Reactor | null = null;

/** Adds a descriptor to this thread's set. It must be non-blocking. */
export function watch(fd: number, events: number, clock: Clock, ready: Ready): Registration {
  if (!Number.isInteger(fd) || fd < 0) {
    throw new PktkitError('PKT_INVALID_CONFIG', `not a descriptor: ${fd}`);
  }
  current ??= new Reactor();
  return current.add(fd, events, clock, ready);
}

/** This thread's counters. */
export function reactorStats(): Readonly<ReactorStats> {
  current ??= new Reactor();
  return current.stats;
}
