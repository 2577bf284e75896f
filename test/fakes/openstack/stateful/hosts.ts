import { createHash } from 'node:crypto';

export interface HostLimits {
  /** Servers on one host at most. */
  capacity: number;
  /** How many tasks one host works on at the same time; further ones wait. */
  slots: number;
  /** A flavor with more memory finds no host. */
  ramMiB: number;
}

export interface Host {
  id: string;
  name: string;
  /** When each slot becomes free. */
  freeAt: number[];
}

/** The compute hosts. Servers are assigned to them in turn. */
export class Hosts {
  readonly all: Host[];
  #turn = 0;

  constructor(
    count: number,
    readonly limits: HostLimits,
  ) {
    this.all = Array.from({ length: count }, (_, index) => ({
      id: hashed(`host ${index}`),
      name: `host-${index + 1}`,
      freeAt: Array.from({ length: limits.slots }, () => 0),
    }));
  }

  /** @param load servers by host name @returns undefined: none has room */
  choose(ramMiB: number, load: ReadonlyMap<string, number>): Host | undefined {
    if (ramMiB > this.limits.ramMiB) return undefined;
    for (let tries = 0; tries < this.all.length; tries++) {
      const host = this.all[this.#turn++ % this.all.length];
      if (host !== undefined && (load.get(host.name) ?? 0) < this.limits.capacity) return host;
    }
    return undefined;
  }

  /** Takes the next free slot of a host. @returns begin and end of the work */
  occupy(name: string, at: number, ms: number): { begin: number; end: number } {
    const host = this.all.find((one) => one.name === name);
    if (host === undefined) throw new Error(`no host ${name}`);
    const slot = host.freeAt.indexOf(Math.min(...host.freeAt));
    const begin = Math.max(at, host.freeAt[slot] ?? 0);
    host.freeAt[slot] = begin + ms;
    return { begin, end: begin + ms };
  }
}

/** A UUID in the form of the cloud, always the same for the same text. */
export function hashed(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
