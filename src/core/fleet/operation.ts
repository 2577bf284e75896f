import { z } from 'zod';
import type { StepName } from './member-plan.js';
import { type FleetRecord, fleetRecordSchema } from './record.js';

/** operation.json: a verb that is under way, with all that is needed to finish it after a crash. */
export const operationSchema = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  /** The fleet that it is about. */
  fleet: z.string().optional(),
  verb: z.enum(['spawn', 'reset', 'teardown', 'rebase', 'checkpoint']),
  startedAt: z.iso.datetime(),
  /** Indexes of the members that it is about. */
  targets: z.array(z.number().int().positive()),
  /** Indexes of the targets that were on when it began, for start policy "same". */
  wasOn: z.array(z.number().int().positive()),
  start: z.enum(['all', 'none', 'same']),
  /** spawn, rebase: what the fleet is to be. */
  record: fleetRecordSchema.optional(),
  /** teardown: the whole fleet goes, and its base image with it. */
  wholeFleet: z.boolean(),
  /** reset: the seeds keep their instance-id, and first-boot work is not done again. */
  keepInstance: z.boolean().default(false),
  withBase: z.boolean(),
  /** reset: back to the checkpoint. */
  warm: z
    .strictObject({
      /** Run in the guests at the end. */
      hook: z.string().optional(),
    })
    .optional(),
  rebase: z
    .strictObject({
      /** Indexes of the targets that go first; the others follow when these hold. */
      canaries: z.array(z.number().int().positive()),
      /** Members that are moved at the same time, after the canaries. */
      batch: z.number().int().positive(),
      keepDrift: z.boolean(),
      /** What members must reach, as --wait says it. */
      wait: z.string().optional(),
      timeoutMs: z.number().positive().optional(),
    })
    .optional(),
});
export type Operation = z.infer<typeof operationSchema> & { record?: FleetRecord | undefined };

/** An operation that began and did not end, as status and resume see it. */
export interface Unfinished {
  operation: Operation;
  /** Indexes of members that are done. */
  done: Set<number>;
}

/** operation.log: one line per finished member. A last line that was cut short does not count. */
export function parseOperationLog(text: string): Set<number> {
  const lines = text.split('\n').slice(0, -1);
  return new Set(lines.flatMap((line) => (/^done \d{1,7}$/.test(line) ? [Number(line.slice(5))] : [])));
}

export function operationLogLine(index: number): string {
  return `done ${index}\n`;
}

export type StageName = StepName | 'import';

export interface StageTime {
  name: StageName;
  /** From the first member's begin to the last one's end, wall clock; stages overlap. */
  seconds: number;
  count: number;
}
