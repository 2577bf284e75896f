import { readdir } from 'node:fs/promises';
import { afterAll } from 'vitest';
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
  #host: Host | undefined;

  private constructor() {
    this.lab = Lab.use(async () => {
      this.#host = await openHost({ connect: uri, store: this.lab.store });
    });
    afterAll(() => this.#host?.close());
  }

  /** Like {@link Lab.use}. */
  static use(): SnapshotLab {
    return new SnapshotLab();
  }

  get host(): Host {
    if (this.#host === undefined) throw new Error('no test is running');
    return this.#host;
  }

  readonly list = async (domain: ForeignDomain) => (await listSnapshots(this.host, domain.name)).domains[0];

  /** Runs a verb that must be refused. */
  readonly refused = async (verb: keyof typeof verbs, domain: string, options: object = {}) => {
    const error = await verbs[verb](this.host, { domain, ...options }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof CowherdError)) throw new Error(`${verb} was not refused: ${error}`);
    return { exitCode: error.exitCode, code: error.code, hint: error.hint, all: [error.message, ...error.details, error.hint].join('\n') };
  };

  readonly leftovers = async (): Promise<string[]> =>
    (await readdir(this.lab.path('snapshots')).catch(() => [])).filter((name) => !name.startsWith('.'));
}
