import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CowherdError } from '../../../src/core/errors.js';
import { type Host, openHost } from '../../../src/host.js';
import { addBase, listBases, removeBase } from '../../../src/services/base/bases.js';
import { pruneBases } from '../../../src/services/base/prune.js';
import { start, stop } from '../../../src/services/fleet/power.js';
import { rebase } from '../../../src/services/fleet/rebase/rebase.js';
import { reset } from '../../../src/services/fleet/reset/reset.js';
import { resume } from '../../../src/services/fleet/resume.js';
import { spawn } from '../../../src/services/fleet/spawn/spawn.js';
import { report, reportAll } from '../../../src/services/fleet/status/report.js';
import { listFleets, status } from '../../../src/services/fleet/status/status.js';
import { teardown } from '../../../src/services/fleet/teardown/teardown.js';
import { listSnapshots } from '../../../src/services/snapshot/list.js';
import { commitSnapshot, dropSnapshot, rollbackSnapshot } from '../../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../../src/services/snapshot/take.js';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { domains, Lab, uri, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Number of damaged versions per file. */
const tears = 3;

/** After a power cut a file may be truncated, or have its full length with zeros. */
describe('a damaged state file', () => {
  let lab: Lab;
  let host: Host;
  let fleet: string;
  let domain: ForeignDomain;
  let uuid: string;
  beforeAll(async () => {
    lab = await Lab.open();
    host = await openHost({ connect: uri, store: lab.store });
    fleet = lab.fleet('torn');
    await addBase(host, { path: await lab.golden('golden.qcow2'), name: 'golden', trustChain: false }, {});
    await spawn(host, { fleet, base: 'golden', count: 2, spec: { memoryMiB: 16, network: 'none', seed: 'nocloud' }, start: false });
    domain = await ForeignDomain.define(lab, 'torn', ['raw']);
    uuid = (await virsh('domuuid', domain.name)).trim();
    await takeSnapshot(host, { domain: domain.name, name: 'a' });
  });
  afterAll(async () => {
    await host?.close();
    await lab?.close();
  });

  type Verb = () => Promise<unknown>;
  const inFleet = (name: string): string => lab.path('fleets', fleet, name);
  const looks = (): Verb[] => [
    () => listFleets(host),
    () => reportAll(host),
    () => status(host, fleet),
    () => report(host, fleet),
    () => listBases(host),
    () => listSnapshots(host, undefined),
  ];
  const verbs: Record<string, Verb> = {
    spawn: () => spawn(host, { fleet, count: 2, start: false }),
    start: () => start(host, { fleet }),
    reset: () => reset(host, { fleet }),
    stop: () => stop(host, { fleet }),
    rebase: () => rebase(host, { fleet, base: 'golden' }),
    teardown: () => teardown(host, { fleet }),
    resume: () => resume(host, { fleet }),
    'base remove': () => removeBase(host, 'golden'),
    'base prune': () => pruneBases(host, { remove: true }),
    take: () => takeSnapshot(host, { domain: domain.name, name: 'b' }),
    rollback: () => rollbackSnapshot(host, { domain: domain.name }),
    drop: () => dropSnapshot(host, { domain: domain.name }),
    commit: () => commitSnapshot(host, { domain: domain.name }),
  };

  /** Everything in the store except files that every run writes, with sizes. */
  async function everything(): Promise<string[]> {
    const names = (await readdir(lab.store, { recursive: true })).filter((name) => !name.endsWith('.lock'));
    const files = await Promise.all(
      names.map(async (name) => `${name} ${(await stat(lab.path(name))).isFile() ? (await stat(lab.path(name))).size : ''}`),
    );
    return [...files.sort(), ...(await domains()).filter((name) => name.includes(lab.id)).sort()];
  }

  async function refusal(verb: Verb): Promise<CowherdError | undefined> {
    try {
      await verb();
      return undefined;
    } catch (error) {
      if (!(error instanceof CowherdError)) throw error;
      return error;
    }
  }

  /**
   * Damages a file in many ways. Reading commands give an answer or a hint; the others refuse without changing anything.
   * @param refusing names of commands
   */
  async function tear(path: string, refusing: string[], text?: string): Promise<void> {
    const whole = text ?? (await readFile(path, 'utf8'));
    const before = await readFile(path, 'utf8').catch(() => undefined);
    const tear = fc.oneof(
      fc.nat(whole.trimEnd().length - 1).map((length) => whole.slice(0, length)),
      fc.constant(''),
      fc.constant('\0'.repeat(whole.length)),
      fc.nat(whole.length - 2).map((length) => whole.slice(0, length) + '\0'.repeat(whole.length - length)),
    );
    try {
      await fc.assert(
        fc.asyncProperty(tear, async (torn) => {
          await writeFile(path, torn);
          const there = await everything();
          for (const look of looks()) {
            const error = await refusal(look);
            if (error !== undefined)
              expect([error.hint, error.message]).toEqual([expect.stringMatching(/./), expect.stringContaining(basename(path))]);
          }
          for (const name of refusing) {
            const error = await refusal(verbs[name] ?? (() => Promise.resolve()));
            const told = [error?.message, ...(error?.details ?? []), error?.hint].join('\n');
            expect({ name, code: error?.code, told, hint: error?.hint }).toMatchObject({
              code: expect.stringMatching(/^(STATE_DAMAGED|BASE_IN_USE|BASE_NOT_FOUND|BASE_CHANGED)$/),
              told: expect.stringContaining(basename(path)),
              hint: expect.stringMatching(/./),
            });
          }
          expect(await everything()).toEqual(there);
        }),
        { numRuns: tears, examples: [['\0'.repeat(whole.length)]] },
      );
    } finally {
      if (before !== undefined) await writeFile(path, before);
    }
  }

  it('fleet.json', () => tear(inFleet('fleet.json'), ['spawn', 'start', 'reset', 'stop', 'rebase', 'teardown', 'base remove']));

  it('operation.json', async () => {
    const controller = new AbortController();
    controller.abort();
    await reset(host, { fleet, signal: controller.signal });
    await tear(inFleet('operation.json'), ['spawn', 'start', 'reset', 'rebase', 'teardown', 'resume']);
    await resume(host, { fleet });
  });

  it('secrets.json', () => tear(inFleet('secrets.json'), ['spawn', 'reset']));

  it('the record of a base image', async () => {
    const [name = ''] = (await readdir(lab.path('bases', 'golden'))).filter((file) => file.endsWith('.json'));
    await tear(lab.path('bases', 'golden', name), ['spawn', 'start', 'reset', 'base remove']);
  });

  it('snapshots.json', () => tear(lab.path('snapshots', uuid, 'snapshots.json'), ['take', 'rollback', 'drop', 'commit']));

  it('journal.json', async () => {
    const path = lab.path('snapshots', uuid, 'journal.json');
    await writeFile(path, '{}');
    await tear(path, ['take', 'rollback', 'drop', 'commit'], JSON.stringify({ version: 1, verb: 'take', uuid, levels: [] }));
  });

  longIt('records that may be lost: current seeds, and completed members', async () => {
    for (const path of [lab.path('fleets', fleet, 'seeds', 'placed.log'), lab.path('accelerator.json'), inFleet('operation.log')]) {
      const text = await readFile(path, 'utf8').catch(() => `done 1\ndone 2\n`);
      await fc.assert(
        fc.asyncProperty(fc.nat(text.length), fc.boolean(), async (length, isZeroed) => {
          await writeFile(path, text.slice(0, length) + (isZeroed ? '\0'.repeat(text.length - length) : ''));
          for (const look of looks()) expect(await refusal(look)).toBeUndefined();
          const { counts } = await spawn(host, { fleet, count: 2, start: false });
          expect(counts.failed).toBe(0);
        }),
        { numRuns: tears },
      );
    }
    expect((await reset(host, { fleet })).counts).toMatchObject({ reset: 2, failed: 0 });
  });
});
