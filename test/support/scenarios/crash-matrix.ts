import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { execa } from 'execa';
import { makeScratch } from '../../../src/adapters/host/scratch.js';
import { readBackingName } from '../../../src/adapters/image/image-files.js';
import { CowherdError } from '../../../src/core/errors.js';
import { type Host, openHost } from '../../../src/host.js';
import { resume } from '../../../src/services/fleet/resume.js';
import { reportAll } from '../../../src/services/fleet/status/report.js';
import { listFleets, status } from '../../../src/services/fleet/status/status.js';
import { bin, Lab, uri } from '../lab.js';

/** Kills a command at each of its changes, resumes it, and compares the state with that after an undisturbed run. */

const killer = fileURLToPath(new URL('../../fakes/kill-at.mjs', import.meta.url));

/** A command with its setup. */
export interface Scenario {
  name: string;
  /** Arguments of cowherd. */
  args: string[];
  /** Restores the state before the command after any previous run. */
  setUp(): Promise<void>;
  /** The fleet for `resume`; without one, the command is repeated. */
  fleet?: string;
  /** Everything that the command may change. */
  view(): Promise<unknown>;
  /** Exit codes of repeating the command after it was done. */
  whenDone?: number[];
}

export interface Point {
  /** From 1. */
  at: number;
  /** Kill after the change was requested, before it was confirmed. */
  late: boolean;
  line: string;
  /** Counts only matching changes. */
  on?: string;
}

export interface Loss {
  scenario: string;
  point: string;
  what: unknown;
}

/** The most critical changes. */
const grave =
  /^(rename|virsh|sync|qemu-img (create|convert|commit|rebase)) ?|unlink .*\/(operation|journal|fleet|snapshots)\.json$|appendFile/;

/** One critical point, in the middle. */
export function critical(points: Point[]): Point[] {
  const most = points.filter(({ line }) => grave.test(line));
  return most.slice(most.length / 2).slice(0, 1);
}

/** The first and last point, and a number of critical points, evenly spread. */
export function sampled(graves: number): (points: Point[]) => Point[] {
  return (points) => {
    const most = points.filter(({ line }) => grave.test(line));
    const step = most.length / graves;
    const spread = Array.from({ length: graves }, (_, index) => most[Math.floor((index + 0.5) * step)]);
    return points.filter((point, position) => position === 0 || position === points.length - 1 || spread.includes(point));
  };
}

export class CrashMatrix {
  readonly lab: Lab;
  readonly host: Host;
  /** Of killed runs. */
  readonly #pids = new Set<number | undefined>();
  readonly #closers: Array<() => Promise<void>> = [];

  private constructor(lab: Lab, host: Host) {
    this.lab = lab;
    this.host = host;
  }

  /** @param lab an existing lab, which {@link close} closes */
  static async open(lab?: Lab): Promise<CrashMatrix> {
    lab ??= await Lab.open();
    return new CrashMatrix(lab, await openHost({ connect: uri, store: lab.store }));
  }

  /** For servers that a scenario needs. */
  onClose(closer: () => Promise<void>): void {
    this.#closers.push(closer);
  }

  async close(): Promise<void> {
    for (const closer of this.#closers) await closer();
    await this.host.close();
    await this.lab.close();
  }

  /**
   * @param choose selects the points to test
   * @param signal the signal to send; if the run survives it, it must exit with 130 or, if everything was done, with 0
   * @returns numbers of points and tested points, and those with a state that differs from an undisturbed run
   */
  async run(
    scenario: Scenario,
    choose: (points: Point[]) => Point[],
    signal: 'SIGKILL' | 'SIGINT' | 'SIGTERM' = 'SIGKILL',
  ): Promise<{ points: number; tried: number; losses: Loss[] }> {
    const { lines, expected } = await this.undisturbed(scenario);
    const all = lines.flatMap((line, index): Point[] => {
      const point = { at: index + 1, late: false, line };
      return signal === 'SIGKILL' && /^(virsh|qemu-img|sync|flock|genisoimage) /.test(line) ? [point, { ...point, late: true }] : [point];
    });
    const chosen = choose(all);
    const losses: Loss[] = [];
    for (const point of chosen) {
      const what = await this.#try(scenario, point, signal, expected).catch((error: unknown) => String(error));
      if (what !== undefined)
        losses.push({ scenario: scenario.name, point: `${signal} ${point.late ? 'in' : 'before'} ${point.at}: ${point.line}`, what });
    }
    return { points: all.length, tried: chosen.length, losses };
  }

  /** Like {@link run}, at named changes, each of which must occur. */
  async runAt(scenario: Scenario, points: Array<{ on: string; nth?: number; late?: boolean }>, expected: unknown): Promise<Loss[]> {
    const losses: Loss[] = [];
    for (const { on, nth = 1, late = false } of points) {
      const point = { at: nth, late, line: on, on };
      const what = await this.#try(scenario, point, 'SIGKILL', expected).catch((error: unknown) => String(error));
      if (what !== undefined) losses.push({ scenario: scenario.name, point: `${late ? 'in' : 'before'} ${nth}: ${on}`, what });
    }
    return losses;
  }

  /** Runs the command undisturbed. @returns its changes and the resulting state */
  async undisturbed(scenario: Scenario): Promise<{ lines: string[]; expected: unknown }> {
    await scenario.setUp();
    const log = join(this.lab.scratch, `${scenario.name.replaceAll(/\W/g, '-')}.changes`);
    const { exitCode, stderr } = await this.#begin(scenario, { CWT_CHANGES: log });
    if (exitCode !== 0) throw new Error(`${scenario.args.join(' ')} exited ${exitCode}\n${stderr}`);
    const lines = (await readFile(log, 'utf8')).trim().split('\n');
    await rm(log);
    return { lines, expected: await scenario.view() };
  }

  async #try(scenario: Scenario, point: Point, signal: string, expected: unknown): Promise<unknown> {
    await scenario.setUp();
    const run = await this.#begin(scenario, {
      CWT_KILL_AT: String(point.at),
      ...(signal === 'SIGKILL' ? {} : { CWT_SIGNAL: signal }),
      ...(point.late ? { CWT_KILL_LATE: '1' } : {}),
      ...(point.on === undefined ? {} : { CWT_KILL_ON: point.on }),
    });
    this.#pids.add(run.pid);
    // If the command had less to do this time, the point does not occur.
    if (signal === 'SIGKILL' && run.exitCode === 0) return point.on === undefined ? undefined : 'the point did not come';
    // After the command is done, a signal ends the process.
    if (signal === 'SIGKILL' ? run.signal !== signal : ![0, 130].includes(run.exitCode ?? -1) && run.signal !== signal) {
      return `ended with ${run.exitCode ?? run.signal}: ${run.stdout}${run.stderr}`;
    }
    await this.looksSound(scenario.fleet);
    await this.#goOn(scenario);
    const found = await scenario.view();
    if (!isDeepStrictEqual(found, expected)) return differences(found, expected);
    return undefined;
  }

  /** Temporary directories of killed runs: the next run that creates one removes them. */
  async scratchLeft(): Promise<string[]> {
    await rm(await makeScratch(), { recursive: true });
    return (await readdir('/tmp')).filter((name) => this.#pids.has(Number(/^cowherd-(\d+)-/.exec(name)?.[1])));
  }

  /** Reading commands give an answer or a hint in any intermediate state. */
  async looksSound(fleet: string | undefined): Promise<void> {
    const looks: Array<() => Promise<unknown>> = [() => listFleets(this.host), () => reportAll(this.host)];
    if (fleet !== undefined) looks.push(() => status(this.host, fleet));
    for (const look of looks) {
      await look().catch((error: unknown) => {
        if (!(error instanceof CowherdError) || error.hint === undefined) throw error;
      });
    }
  }

  async #goOn(scenario: Scenario): Promise<void> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const code = await this.#resumed(scenario);
      if (code === undefined) return;
      // Child processes of the killed run hold the lock until they are done.
      if (code !== 'LOCKED' || Date.now() > deadline) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    for (;;) {
      const { exitCode, stdout, stderr } = await this.lab.cowherd(...scenario.args);
      if (exitCode === 6 && Date.now() < deadline) continue;
      if (exitCode === 0 || scenario.whenDone?.includes(exitCode)) return;
      throw new Error(`again: ${scenario.args.join(' ')} exited ${exitCode}\n${stdout}\n${stderr}`);
    }
  }

  /** @returns the error code for which the command must be repeated; undefined if resume has finished it */
  async #resumed({ fleet }: Scenario): Promise<string | undefined> {
    if (fleet === undefined) return 'none';
    try {
      const { counts, operation } = await resume(this.host, { fleet });
      if (operation.verb === 'resume') return 'nothing to resume';
      if (counts.failed > 0) throw new Error(`resume: ${counts.failed} members failed`);
      return undefined;
    } catch (error) {
      if (error instanceof CowherdError && ['LOCKED', 'FLEET_NOT_FOUND'].includes(error.code)) return error.code;
      throw error;
    }
  }

  async #begin({ args }: Scenario, env: Record<string, string>) {
    const run = execa(process.execPath, ['--import', killer, bin, ...args], { env: { ...this.lab.env, ...env }, reject: false });
    const { exitCode, signal, stdout, stderr } = await run;
    return { pid: run.pid, exitCode, signal, stdout, stderr };
  }

  /** A fleet with the backing files of its disks, its records, and all other files. */
  async fleet(fleet: string): Promise<unknown> {
    const { lab } = this;
    const record = await readFile(lab.path('fleets', fleet, 'fleet.json'), 'utf8').catch(() => undefined);
    const overlays = (await readdir(lab.path('fleets', fleet, 'overlays')).catch(() => [])).sort();
    return {
      ...(await lab.world(fleet)),
      record:
        record === undefined
          ? undefined
          : {
              ...JSON.parse(record),
              id: 'I',
              createdAt: 'T',
              members: JSON.parse(record).members.map(({ name, base }: any) => ({ name, base })),
            },
      backing: await Promise.all(
        overlays.filter((name) => name.endsWith('.qcow2')).map((name) => readBackingName(lab.path('fleets', fleet, 'overlays', name))),
      ),
      directory: await listed(lab.path('fleets'), (name) => name === fleet || name.startsWith(`.${fleet}.`)),
      probes: await listed(lab.path('probes')),
    };
  }

  /** Base images with given names: their files, and whether their content matches the digest in the name. */
  async bases(...names: string[]): Promise<unknown> {
    const { lab } = this;
    return Promise.all(
      names.map(async (name) => {
        const files = await listed(lab.path('bases', name));
        const images = files.filter((file) => /\.(qcow2|raw)$/.test(file));
        const sums = await Promise.all(images.map(async (file) => `${(await sha256(lab.path('bases', name, file))).slice(0, 12)} ${file}`));
        return {
          name,
          files,
          sums,
          modes: await Promise.all(images.map(async (file) => (await lstat(lab.path('bases', name, file))).mode & 0o777)),
        };
      }),
    );
  }
}

export async function listed(path: string, isMeant: (name: string) => boolean = () => true): Promise<string[]> {
  return (await readdir(path).catch(() => [])).filter(isMeant).sort();
}

export async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** The unexpected parts of a view. */
function differences(found: any, expected: any): unknown {
  if (typeof found !== 'object' || typeof expected !== 'object' || !found || !expected) return { found, expected };
  const keys = [...new Set([...Object.keys(found), ...Object.keys(expected)])].filter(
    (key) => !isDeepStrictEqual(found[key], expected[key]),
  );
  return Object.fromEntries(keys.map((key) => [key, differences(found[key], expected[key])]));
}
