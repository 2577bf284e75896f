import { z } from 'zod';
import { baseRefSchema } from '../fleet/record.js';
import { warmMemorySchema } from '../image/base.js';
import { diskSpecSchema, domainSpecSchema } from '../spec/spec.js';

/** What is known about a memory before its files are read. */
export const memoryFactsSchema = warmMemorySchema.omit({ digest: true, seal: true, bytes: true, allocatedBytes: true, ram: true });
export type MemoryFacts = z.infer<typeof memoryFactsSchema>;

/** freeze.json: the spawn that froze a running VM. Written before the freeze, removed when the spawn's own intent is written. */
export const freezeSchema = z.strictObject({
  version: z.literal(1),
  /** Name and UUID of the source VM. */
  domain: z.string(),
  uuid: z.uuid(),
  startedAt: z.iso.datetime(),
  /** Other options of the spawn. */
  count: z.number().int().positive(),
  keepFrozen: z.boolean(),
  /** Whether clones may have a copy of its TPM state. */
  shareTpm: z.literal(true).optional(),
  start: z.boolean(),
  /** Value of --wait. */
  wait: z.string().optional(),
  timeoutMs: z.number().positive().optional(),
  concurrency: z.number().int().positive().optional(),
  bootConcurrency: z.number().int().positive().optional(),
  overlay: domainSpecSchema.shape.overlay,
  /** Addresses of the source VM's network cards and its types of host keys. */
  addresses: z.array(z.string()),
  hostKeyTypes: z.array(z.string()),
  /** Its memory size, the amount that libvirt writes. */
  memoryMiB: z.number().int().positive(),
  /** Disks and memory that were copied to the store: once set, the VM is not frozen again. */
  taken: z
    .strictObject({
      base: baseRefSchema,
      disks: z.array(diskSpecSchema),
      /** Its UEFI variables at that moment: gzip, base64. */
      nvram: z
        .string()
        .max(8 * 2 ** 20)
        .optional(),
      /** Base images imported for it. */
      imported: z.array(baseRefSchema),
      facts: memoryFactsSchema,
      /** Whether the memory was split, so that clones share it. */
      isShared: z.boolean().optional(),
    })
    .optional(),
});
export type Freeze = z.infer<typeof freezeSchema>;
