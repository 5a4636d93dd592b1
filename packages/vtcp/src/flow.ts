/**
 * The demultiplexer: every connection, half-open request and TIME-WAIT entry of a stack by its two addresses and ports.
 */

import { FlowTable, IpAddr, type IpFamily, type Random32 } from '@pktkit/core';

export const FLOW_CONNECTION = 0;
export const FLOW_REQUEST = 1;
export const FLOW_TIME_WAIT = 2;

/** Both ends as integers; IPv4 in mapped form. */
export class FlowKey {
  family: IpFamily = 4;
  l0 = 0;
  l1 = 0;
  l2 = 0;
  l3 = 0;
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  /** Local in the upper, remote in the lower half. */
  ports = 0;

  set(local: IpAddr, localPort: number, remote: IpAddr, remotePort: number): void {
    this.family = local.family;
    this.l0 = local.w0;
    this.l1 = local.w1;
    this.l2 = local.w2;
    this.l3 = local.w3;
    this.r0 = remote.w0;
    this.r1 = remote.w1;
    this.r2 = remote.w2;
    this.r3 = remote.w3;
    this.ports = (localPort << 16) | remotePort;
  }
}

export abstract class Flow {
  abstract readonly kind: number;
  readonly family: IpFamily;
  readonly l0: number;
  readonly l1: number;
  readonly l2: number;
  readonly l3: number;
  readonly r0: number;
  readonly r1: number;
  readonly r2: number;
  readonly r3: number;
  readonly ports: number;
  /** In the flow table; -1 outside it. */
  record = -1;

  constructor(key: FlowKey | Flow) {
    this.family = key.family;
    this.l0 = key.l0;
    this.l1 = key.l1;
    this.l2 = key.l2;
    this.l3 = key.l3;
    this.r0 = key.r0;
    this.r1 = key.r1;
    this.r2 = key.r2;
    this.r3 = key.r3;
    this.ports = key.ports;
  }

  get local(): IpAddr {
    return this.family === 4 ? IpAddr.v4(this.l3) : IpAddr.v6(this.l0, this.l1, this.l2, this.l3);
  }

  get remote(): IpAddr {
    return this.family === 4 ? IpAddr.v4(this.r3) : IpAddr.v6(this.r0, this.r1, this.r2, this.r3);
  }

  get localPort(): number {
    return this.ports >>> 16;
  }

  get remotePort(): number {
    return this.ports & 0xffff;
  }
}

/** Both ends alone, to answer what belongs to no flow. */
export class Endpoints extends Flow {
  readonly kind: number = -1;
}

/** `FlowTable` with the flow itself as the record. */
export class FlowMap {
  readonly #table: FlowTable;
  readonly #flows: Array<Flow | null> = [];

  constructor(random: Random32, capacity: number) {
    this.#table = new FlowTable({ capacity, random });
  }

  find(key: FlowKey): Flow | null {
    const record =
      key.family === 4
        ? this.#table.find4(key.l3, key.r3, key.ports, 0)
        : this.#table.find(
            key.l0,
            key.l1,
            key.l2,
            key.l3,
            key.r0,
            key.r1,
            key.r2,
            key.r3,
            key.ports,
            0,
          );
    return record < 0 ? null : this.#flows[record];
  }

  /** False when the table is full. The caller has made sure that the key is free. */
  add(flow: Flow): boolean {
    const record =
      flow.family === 4
        ? this.#table.insert4(flow.l3, flow.r3, flow.ports, 0)
        : this.#table.insert(
            flow.l0,
            flow.l1,
            flow.l2,
            flow.l3,
            flow.r0,
            flow.r1,
            flow.r2,
            flow.r3,
            flow.ports,
            0,
          );
    if (record < 0) return false;
    flow.record = record;
    while (this.#flows.length <= record) this.#flows.push(null);
    this.#flows[record] = flow;
    return true;
  }

  remove(flow: Flow): void {
    if (flow.record < 0) return;
    this.#table.remove(flow.record);
    this.#flows[flow.record] = null;
    flow.record = -1;
  }

  /** A snapshot for shutting down. */
  all(): Flow[] {
    return this.#flows.filter((flow) => flow !== null);
  }
}
