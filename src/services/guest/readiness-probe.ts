import type { LimitFunction } from 'p-limit';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { ReadyStage, WaitFor } from '../../core/guest/stages.js';
import { excerptLines } from '../../core/guest/text.js';
import { parseNetwork } from '../../core/spec/flag-values.js';
import type { Ports } from '../../ports/index.js';
import type { Endpoints } from './endpoints.js';
import { cloudInitState } from './run.js';
import type { Probe, Seen } from './stage-wait.js';

/** Console text to keep for matching partial lines and for quoting the last line. */
const keptCharacters = 8 * 1024;
const bannerMs = 3_000;
const pingSeconds = 2;

/** State before members are started. */
export interface Watch {
  record: FleetRecord;
  wait: WaitFor;
  /** Expiry times of leases by MAC: an unchanged lease is from before the start. */
  leases: ReadonlyMap<string, string>;
}

/** Checks the readiness of one member. */
export class ReadinessProbe implements Probe {
  readonly #ports: Ports;
  readonly #watch: Watch;
  readonly #endpoints: Endpoints;
  readonly #probes: LimitFunction;
  readonly #member: MemberIdentity;
  readonly #isFresh: boolean;
  #nextByte = 0;
  #console = '';

  constructor(ports: Ports, watch: Watch, endpoints: Endpoints, probes: LimitFunction, member: MemberIdentity, isFresh: boolean) {
    this.#ports = ports;
    this.#watch = watch;
    this.#endpoints = endpoints;
    this.#probes = probes;
    this.#member = member;
    this.#isFresh = isFresh;
  }

  /** The last line of its console, for messages. */
  async lastLine(): Promise<string | undefined> {
    while (await this.#readConsole()) if (this.#nextByte > 64 * 1024 * 1024) break;
    return excerptLines(this.#console, 1)[0];
  }

  /** @param withinMs time limit for the check itself */
  async look(stage: ReadyStage, withinMs: number, signal?: AbortSignal): Promise<Seen> {
    switch (stage) {
      case 'running':
        return { done: true, why: '' };
      case 'console':
        return this.#lookAtConsole();
      case 'address':
        return this.#lookForAddress();
      case 'agent':
        await this.#ports.agent.command(this.#member.name, { execute: 'guest-ping' }, pingSeconds);
        return { done: true, why: '' };
      case 'ssh':
        return this.#lookForSsh();
      case 'cloud-init':
        return cloudInitState(this.#ports, this.#endpoints, this.#member, { withinMs, signal });
    }
  }

  async #lookAtConsole(): Promise<Seen> {
    const { pattern } = this.#watch.wait;
    do {
      if (pattern?.test(this.#console)) return { done: true, why: '' };
      this.#console = this.#console.slice(-keptCharacters);
    } while (await this.#readConsole());
    return { done: false, why: `its console output does not match ${pattern}` };
  }

  /** @returns whether there was new output */
  async #readConsole(): Promise<boolean> {
    const { text, nextByte } = await this.#ports.fleets.readConsole(this.#watch.record.name, this.#member.name, this.#nextByte);
    this.#nextByte = nextByte;
    this.#console = this.#console.slice(-keptCharacters) + text;
    return text !== '';
  }

  async #lookForAddress(): Promise<Seen> {
    if (this.#member.sshPort !== undefined) return { done: true, why: '' };
    const lease = await this.#endpoints.lease(this.#member);
    if (lease !== undefined && !(this.#isFresh && this.#watch.leases.get(lease.mac) === lease.expires)) return { done: true, why: '' };
    if (parseNetwork(this.#watch.record.spec.network).kind === 'network' && this.#member.address !== undefined)
      return { done: false, why: `it has not requested its address ${this.#member.address} by DHCP` };
    const address = await this.#endpoints.agentAddress(this.#member);
    return address === undefined ? { done: false, why: 'its network card has no IPv4 address' } : { done: true, why: '' };
  }

  async #lookForSsh(): Promise<Seen> {
    const where = await this.#endpoints.host(this.#member);
    if (where === undefined) return { done: false, why: 'its address is not known' };
    const isUp = await this.#probes(() => this.#ports.remote.answers(where.host, where.port, bannerMs));
    return isUp ? { done: true, why: '' } : { done: false, why: `no answer from sshd at ${where.host} port ${where.port}` };
  }
}
