import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Answer, NightlyCloud } from './cloud.js';

/** Kills a command at each of its changes, resumes it, and compares the cloud and the store with those after an undisturbed run. */

export interface KillScenario<Before> {
  fleet: string;
  /** Restores the state before the command after any previous run. */
  setUp(): Promise<Before>;
  args(before: Before): string[];
  /** Everything that the command may change. */
  view(before: Before): Promise<unknown>;
}

export interface KillResult {
  /** Seconds of the undisturbed run. */
  seconds: number;
  tried: number;
  /** Points at which the state was another one in the end. */
  losses: Array<{ point: string; found: unknown; expected?: unknown }>;
}

interface Point {
  /** From 1. */
  at: number;
  /** Kill after the change, before the run knows about it. */
  late: boolean;
  line: string;
}

const request = /^(POST|PUT|PATCH|DELETE) /;
/** What decides how a killed run is continued. */
const stateFile = /^(rename|unlink|rm) .*\.json\b/;
/** State files are written the same way by all engines; their points are a sample. */
const localPoints = 4;

export async function killEverywhere<Before>(cloud: NightlyCloud, scenario: KillScenario<Before>): Promise<KillResult> {
  const log = join(cloud.scratch, 'changes');
  await rm(log, { force: true });
  const before = await scenario.setUp();
  const began = performance.now();
  const args = scenario.args(before);
  const answer = await cloud.cowherd(args, { CHANGES: log });
  if (answer.exitCode !== 0) throw new Error(`${args.join(' ')} exited ${answer.exitCode}\n${textOf(answer)}`);
  const seconds = (performance.now() - began) / 1_000;
  const expected = await scenario.view(before);
  const points = pointsIn((await readFile(log, 'utf8')).trim().split('\n'));
  const losses: KillResult['losses'] = [];
  for (const point of points) {
    const name = `${point.late ? 'after' : 'before'} ${point.at}: ${point.line}`;
    try {
      const found = await killOnce(cloud, scenario, point);
      if (!isDeepStrictEqual(found, expected)) losses.push({ point: name, found, expected });
    } catch (error) {
      losses.push({ point: name, found: String(error) });
    }
  }
  return { seconds, tried: points.length, losses };
}

/** All requests that change something, before and after; some changes of state files. */
function pointsIn(lines: readonly string[]): Point[] {
  const all = lines.map((line, index) => ({ at: index + 1, late: false, line }));
  const requests = all.filter(({ line }) => request.test(line));
  if (requests.length === 0) throw new Error(`no request is among the changes:\n${lines.join('\n')}`);
  const files = all.filter(({ line }) => stateFile.test(line));
  const step = Math.max(1, files.length / localPoints);
  const sample = files.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
  return [...requests.flatMap((point) => [point, { ...point, late: true }]), ...sample];
}

async function killOnce<Before>(cloud: NightlyCloud, scenario: KillScenario<Before>, point: Point): Promise<unknown> {
  const before = await scenario.setUp();
  const args = scenario.args(before);
  const killed = await cloud.cowherd(args, { KILL_AT: String(point.at), ...(point.late ? { KILL_LATE: '1' } : {}) });
  // With less to do this time, for example fewer repetitions, the point does not occur.
  if (killed.exitCode !== 0 && killed.signal !== 'SIGKILL') throw new Error(`exited ${killed.exitCode}\n${textOf(killed)}`);
  for (const look of [['list'], ['report'], ['status', scenario.fleet]]) {
    const answer = await cloud.cowherd(look);
    const errors = [answer.json?.error, ...(answer.json?.failed ?? []).map(({ error }: any) => error)];
    if (answer.exitCode !== 0 && !errors.some((error) => error?.hint !== undefined)) throw new Error(`${look[0]}: ${textOf(answer)}`);
  }
  if (!(await isResumed(cloud, scenario.fleet))) {
    const again = await cloud.cowherd(args);
    // A teardown that was killed after its last step.
    const isGone = again.json?.error?.code === 'FLEET_NOT_FOUND';
    if (again.exitCode !== 0 && !isGone) throw new Error(`again: exited ${again.exitCode}\n${textOf(again)}`);
  }
  return scenario.view(before);
}

/** @returns whether resume had something to finish */
async function isResumed(cloud: NightlyCloud, fleet: string): Promise<boolean> {
  const answer = await cloud.cowherd(['resume', fleet]);
  if (answer.exitCode === 0) return answer.json.operation.verb !== 'resume';
  if (answer.json?.error?.code === 'FLEET_NOT_FOUND') return false;
  throw new Error(`resume: exited ${answer.exitCode}\n${textOf(answer)}`);
}

function textOf({ stderr, json }: Answer): string {
  return `${stderr}\n${JSON.stringify(json)}`;
}
