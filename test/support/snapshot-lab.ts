import { mkdir, readdir } from 'node:fs/promises';
import { CowherdError } from '../../src/core/errors.js';
import { type Host, openHost } from '../../src/host.js';
import { listSnapshots } from '../../src/services/snapshot/list.js';
import { commitSnapshot, dropSnapshot, rollbackSnapshot } from '../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../src/services/snapshot/take.js';
import type { ForeignDomain } from './foreign-domains.js';
import { Lab, uri } from './lab.js';

export const verbs = { take: takeSnapshot, rollback: rollbackSnapshot, drop: dropSnapshot, commit: commitSnapshot };

/** A lab, and the snapshot verbs in this process. */
export class SnapshotLab {
  readonly lab: Lab;
  readonly host: Host;

  private constructor(lab: Lab, host: Host) {
    this.lab = lab;
    this.host = host;
  }

  static async open(): Promise<SnapshotLab> {
    const lab = await Lab.open();
    await mkdir(lab.store, { recursive: true });
    return new SnapshotLab(lab, await openHost({ connect: uri, store: lab.store }));
  }

  async list(domain: ForeignDomain) {
    return (await listSnapshots(this.host, domain.name)).domains[0];
  }

  /** Runs a verb that must be refused. */
  async refused(verb: keyof typeof verbs, domain: string, options: object = {}) {
    const error = await verbs[verb](this.host, { domain, ...options }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof CowherdError)) throw new Error(`${verb} was not refused: ${error}`);
    return { exitCode: error.exitCode, code: error.code, hint: error.hint, all: [error.message, ...error.details, error.hint].join('\n') };
  }

  async leftovers(): Promise<string[]> {
    return (await readdir(this.lab.path('snapshots')).catch(() => [])).filter((name) => !name.startsWith('.'));
  }

  async close(): Promise<void> {
    await this.host.close();
    await this.lab.close();
  }
}
