import { guest, type Lab } from './lab.js';

/** Random commands by several concurrent processes on two fleets of one base image. */

export interface Storm {
  rounds: number;
  processes: number;
  seed: number;
  /** Percentage of runs that are killed halfway with SIGKILL. */
  killedPercent: number;
}

export interface StormResult {
  runs: number;
  killed: number;
  /** Number of occurrences of each exit code. */
  codes: Record<string, number>;
  /** Forbidden results, with their output. */
  outrages: string[];
}

/** Success, refused, not found or locked: allowed exit codes with concurrent runs. */
const decent = new Set([0, 2, 3, 5, 6]);

export async function unleash(lab: Lab, storm: Storm, goldens: readonly [string, string]): Promise<StormResult> {
  const random = mulberry32(storm.seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const fleets = [lab.fleet('storm-a'), lab.fleet('storm-b')];
  const result: StormResult = { runs: 0, killed: 0, codes: {}, outrages: [] };

  const verbs = (): string[] => {
    const fleet = pick(fleets);
    const member = pick(['1', '2', '1-2']);
    return pick([
      ['spawn', fleet, '--base', goldens[0], '--count', pick(['2', '3']), ...guest, '--seed', 'nocloud'],
      ['spawn', fleet, '--base', goldens[0], '--count', '3', ...guest],
      ['spawn', fleet, '--count', '3', '--no-start'],
      ['reset', fleet],
      ['reset', fleet, member, '--start', pick(['all', 'none', 'same'])],
      ['stop', fleet, member, '--timeout', '1s', '--force'],
      ['start', fleet],
      ['teardown', fleet, '--yes'],
      ['teardown', fleet, '3', '--yes'],
      ['rebase', fleet, '--base', pick(goldens)],
      ['promote', fleet, '1', '--as', 'upper', ...pick([['--layered'], []])],
      ['compact', fleet],
      ['resume', fleet],
      ['status', fleet],
      ['report', fleet],
      ['base', 'add', pick(goldens)],
      ['base', 'remove', pick(['golden', 'other', 'upper'])],
      ['base', 'prune', '--yes'],
      ['verify', '--fix'],
    ]);
  };

  async function round(): Promise<void> {
    const args = [...verbs(), '--json'];
    const run = lab.begin(...args);
    let isKilled = false;
    const timer =
      random() * 100 < storm.killedPercent
        ? setTimeout(
            () => {
              isKilled = run.kill('SIGKILL');
            },
            250 + random() * 1500,
          )
        : undefined;
    const { exitCode, signal, stdout, stderr } = await run;
    clearTimeout(timer);
    result.runs++;
    if (isKilled && signal === 'SIGKILL') {
      result.killed++;
      return;
    }
    result.codes[String(exitCode)] = (result.codes[String(exitCode)] ?? 0) + 1;
    // A concurrent verify may see an interrupted command or a killed import.
    const isVerdict = args[0] === 'verify' && exitCode === 4;
    if (isVerdict) {
      const open = JSON.parse(stdout).findings.filter(
        ({ kind, fixed }: { kind: string; fixed: boolean }) => !fixed && kind !== 'unfinished',
      );
      if (storm.killedPercent === 0 && open.length > 0) result.outrages.push(`verify: ${JSON.stringify(open)}`);
    } else if (exitCode === 4 && storm.killedPercent > 0 && stdout.includes('it has no domain')) {
      // What a killed teardown has taken is there no more, and that is told.
    } else if (exitCode === 7 && stdout.includes('is no longer in the store')) {
      // Between the import of a base image and the intent that binds it, somebody has removed it: nothing stood on it.
    } else if (!decent.has(exitCode ?? -1)) {
      result.outrages.push(`${args.join(' ')} exited ${exitCode}\n${stdout}\n${stderr}`);
    }
  }

  let left = storm.rounds;
  await Promise.all(
    Array.from({ length: storm.processes }, async () => {
      while (left-- > 0) await round();
    }),
  );
  // Killed runs are resumed; then everything must be consistent.
  for (const fleet of fleets)
    if ((await lab.cowherd('status', fleet, '--json')).json.unfinished !== undefined) await lab.ok('resume', fleet);
  return result;
}

/** Small and deterministic. Source: Tommy Ettinger's mulberry32, public domain. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
