import { z } from 'zod';
import type { StepName } from './plan/member-plan.js';
import { type FleetRecord, fleetRecordSchema } from './record.js';

/** operation.json: a running command, with everything that is needed to finish it after a crash. */
export const operationSchema = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  /** The fleet. */
  fleet: z.string().optional(),
  verb: z.enum(['spawn', 'reset', 'teardown', 'rebase', 'checkpoint']),
  startedAt: z.iso.datetime(),
  /** Indexes of the target members. */
  targets: z.array(z.number().int().positive()),
  /** Indexes of the targets that were running when it began, for start policy "same". */
  wasOn: z.array(z.number().int().positive()),
  start: z.enum(['all', 'none', 'same']),
  /** spawn, rebase: the new record of the fleet. */
  record: fleetRecordSchema.optional(),
  /** teardown: removes the whole fleet, and its base image. */
  wholeFleet: z.boolean(),
  /** reset: the seeds keep their instance-id, so first-boot work is not repeated. */
  keepInstance: z.boolean().default(false),
  withBase: z.boolean(),
  /** reset: restores the checkpoint. */
  warm: z
    .strictObject({
      /** Run in the guests at the end. */
      hook: z.string().optional(),
    })
    .optional(),
  rebase: z
    .strictObject({
      /** Indexes of the targets that go first; the others follow if these succeed. */
      canaries: z.array(z.number().int().positive()),
      /** Members to move at the same time, after the canaries. */
      batch: z.number().int().positive(),
      keepDrift: z.boolean(),
      /** Stages that members must reach, as in --wait. */
      wait: z.string().optional(),
      timeoutMs: z.number().positive().optional(),
    })
    .optional(),
});
export type Operation = z.infer<typeof operationSchema> & { record?: FleetRecord | undefined };

/** An unfinished operation, for status and resume. */
export interface Unfinished {
  operation: Operation;
  /** Indexes of finished members. */
  done: Set<number>;
  /** Error codes of members that failed in a run, by index. A later run may finish them. */
  failed?: ReadonlyMap<number, string>;
}

/** operation.log: one line per finished member. An incomplete last line is ignored. */
export function parseOperationLog(text: string): Set<number> {
  const lines = text.split('\n').slice(0, -1);
  return new Set(lines.flatMap((line) => (/^done \d{1,7}$/.test(line) ? [Number(line.slice(5))] : [])));
}

/** Lines about failed members in the same file. Only for display: resume tries them again. */
export function parseFailures(text: string): Map<number, string> {
  return new Map([...text.matchAll(/^failed (\d{1,7}) ([A-Z_]{1,40})$/gm)].map(([, index, code = '']) => [Number(index), code]));
}

export function operationLogLine(index: number): string {
  return `done ${index}\n`;
}

export function failureLine(index: number, code: string): string {
  return `failed ${index} ${code}\n`;
}

export type StageName = StepName | 'import';

export interface StageTime {
  name: StageName;
  /** Wall clock time from the first member's start to the last one's end; stages overlap. */
  seconds: number;
  count: number;
}
