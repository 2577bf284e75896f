import type { FleetObservation } from '../../core/events/tracker.js';
import type { Ports } from '../../ports/index.js';

/** @returns a fleet as the store shows it; undefined if it has no record @throws STATE_DAMAGED, STORE_FAILED */
export async function observeInStore(
  { fleets, checkpoints }: Pick<Ports, 'fleets' | 'checkpoints'>,
  fleet: string,
): Promise<FleetObservation | undefined> {
  const unfinished = await fleets.unfinished(fleet).catch(() => undefined);
  // Until a spawn has written its record, the record is in its intent.
  const record = (await fleets.read(fleet)) ?? unfinished?.operation.record;
  if (record === undefined) return undefined;
  const runner = await fleets.runner(fleet).catch(() => undefined);
  const taken = await checkpoints.list(fleet).catch(() => new Map<string, { takenAt: string }>());
  const members = new Map([...record.members, ...(unfinished?.operation.record?.members ?? [])].map((member) => [member.name, member]));
  return {
    fleet,
    members: [...members.values()],
    operation: unfinished && {
      verb: unfinished.operation.verb,
      id: unfinished.operation.id,
      done: unfinished.done,
      failed: unfinished.failed ?? new Map(),
    },
    runner: runner && { verb: runner.verb ?? 'a command', since: runner.since ?? `process ${runner.pid}` },
    ended: (await fleets.history(fleet).catch(() => [])).at(-1),
    checkpoints: new Map([...taken].map(([name, { takenAt }]) => [name, takenAt])),
  };
}
