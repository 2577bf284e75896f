import { z } from 'zod';
import type { DomainSpec } from '../spec/spec.js';
import { choiceSchema, formatChoice } from './cpu.js';

/** What is known of the accelerators of a host: which question a probe answers, and what it came to. */

/** What the answer depends on, of all that a fleet can ask for. */
export interface AcceleratorQuestion {
  /** The CPU that was asked for; undefined where the fleet takes the best that works. */
  cpu: string | undefined;
  firmware: DomainSpec['firmware'];
  lean: boolean;
  /** sha256 of the fleet's own template. Probes use the built-in one; what is refuted counts for one template alone. */
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
  /** What was tried before, the best first. */
  rejected: z.array(rejectedSchema),
  /** When it was found out. */
  since: z.iso.datetime(),
  /** Why no probe guest could run at all: nothing is known of KVM then, and nothing is remembered. */
  unproven: z.string().optional(),
});
export type AcceleratorAnswer = z.infer<typeof answerSchema>;

/** accelerator.json */
export const rememberedSchema = z.strictObject({
  version: z.literal(2),
  entries: z.array(
    z.strictObject({
      /** All that the answer depends on. */
      key: z.string(),
      since: z.iso.datetime(),
      /** Absent when a member did not start with what was chosen. */
      answer: answerSchema.optional(),
      /** What a member did not start with, whatever probes say. */
      refuted: z.array(rejectedSchema),
    }),
  ),
});
export type Remembered = z.infer<typeof rememberedSchema>;

/** A host changes in ways that no key covers: after this time it is asked again. */
export const rememberedMs = 24 * 60 * 60 * 1000;

/** Entries that are kept: one per CPU, machine and setting of lean that was asked for. */
const maxEntries = 16;

export function withEntry({ entries }: Remembered, entry: Remembered['entries'][number]): Remembered {
  return { version: 2, entries: [entry, ...entries.filter(({ key }) => key !== entry.key)].slice(0, maxEntries) };
}

export function formatAnswer({ choice, why, rejected, since, unproven }: AcceleratorAnswer): string {
  const reasons = [why, ...rejected.map((one) => `not ${formatChoice(one)}: ${one.why}`)];
  if (unproven !== undefined) return `could not check KVM, so guests are emulated: ${unproven}`;
  return `${formatChoice(choice)} (${reasons.filter((reason) => reason !== '').join('; ')}), known since ${since}`;
}
