import { z } from 'zod';
import type { DomainSpec } from '../spec/spec.js';
import { choiceSchema, formatChoice } from './cpu.js';

/** Probe results for the accelerators of a host, and what they depend on. */

/** The settings of a fleet that the result depends on. */
export interface AcceleratorQuestion {
  /** The requested CPU; undefined for the best one that works. */
  cpu: string | undefined;
  firmware: DomainSpec['firmware'];
  lean: boolean;
  /** sha256 of the fleet's own template. Probes use the built-in one; a failed start counts for one template only. */
  template: string | undefined;
}

export function questionOf({ cpu, firmware, lean, template }: DomainSpec): AcceleratorQuestion {
  return { cpu, firmware, lean, template };
}

const rejectedSchema = choiceSchema.extend({ why: z.string() });
export type RejectedChoice = z.infer<typeof rejectedSchema>;

export const answerSchema = z.strictObject({
  choice: choiceSchema,
  why: z.string(),
  /** Rejected choices, the best first. */
  rejected: z.array(rejectedSchema),
  /** When it was probed. */
  since: z.iso.datetime(),
  /** Why no probe guest could run at all: then KVM was not checked, and nothing is cached. */
  unproven: z.string().optional(),
});
export type AcceleratorAnswer = z.infer<typeof answerSchema>;

/** accelerator.json */
export const rememberedSchema = z.strictObject({
  version: z.literal(2),
  entries: z.array(
    z.strictObject({
      /** Everything that the result depends on. */
      key: z.string(),
      since: z.iso.datetime(),
      /** Absent if a member did not start with the choice. */
      answer: answerSchema.optional(),
      /** Choices that a member did not start with, regardless of probes. */
      refuted: z.array(rejectedSchema),
    }),
  ),
});
export type Remembered = z.infer<typeof rememberedSchema>;

/** A host can change in ways that the key does not cover, so results expire after this time. */
export const rememberedMs = 24 * 60 * 60 * 1000;

/** Entries to keep: one per requested CPU, machine and setting of lean. */
const maxEntries = 16;

export function withEntry({ entries }: Remembered, entry: Remembered['entries'][number]): Remembered {
  return { version: 2, entries: [entry, ...entries.filter(({ key }) => key !== entry.key)].slice(0, maxEntries) };
}

export function formatAnswer({ choice, why, rejected, since, unproven }: AcceleratorAnswer): string {
  const reasons = [why, ...rejected.map((one) => `not ${formatChoice(one)}: ${one.why}`)];
  if (unproven !== undefined) return `could not check KVM, so guests are emulated: ${unproven}`;
  return `${formatChoice(choice)} (${reasons.filter((reason) => reason !== '').join('; ')}), known since ${since}`;
}
