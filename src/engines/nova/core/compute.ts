import { z } from 'zod';

/** What is checked before servers are created. */

export interface Flavor {
  id: string;
  name: string;
  ramMiB: number;
  vcpus: number;
  /** 0: the disk has the size of the image. Most clouds allow that to administrators only. */
  diskGiB: number;
}

export const flavorSchema = z
  .object({ id: z.string(), name: z.string(), ram: z.number(), vcpus: z.number(), disk: z.number() })
  .transform((raw): Flavor => ({ id: raw.id, name: raw.name, ramMiB: raw.ram, vcpus: raw.vcpus, diskGiB: raw.disk }));

/** What the project has and may have; undefined: unlimited. */
export interface Limits {
  servers: Quota;
  cores: Quota;
  ramMiB: Quota;
  /** Metadata entries of one server. */
  metadata: number | undefined;
}

export interface Quota {
  used: number;
  limit: number | undefined;
}

const maximum = z
  .number()
  .nullish()
  .transform((value) => (value === undefined || value === null || value < 0 ? undefined : value));
const used = z
  .number()
  .nullish()
  .transform((value) => value ?? 0);

export const limitsSchema = z
  .object({
    limits: z.object({
      absolute: z.object({
        ...{ maxTotalInstances: maximum, maxTotalCores: maximum, maxTotalRAMSize: maximum, maxServerMeta: maximum },
        ...{ totalInstancesUsed: used, totalCoresUsed: used, totalRAMUsed: used },
      }),
    }),
  })
  .transform(
    ({ limits: { absolute: raw } }): Limits => ({
      servers: { used: raw.totalInstancesUsed, limit: raw.maxTotalInstances },
      cores: { used: raw.totalCoresUsed, limit: raw.maxTotalCores },
      ramMiB: { used: raw.totalRAMUsed, limit: raw.maxTotalRAMSize },
      metadata: raw.maxServerMeta,
    }),
  );

export interface Network {
  id: string;
  name: string;
  status: string;
}

export const networkSchema = z
  .object({ id: z.string(), name: z.string(), status: z.string().nullish() })
  .transform((raw): Network => ({ id: raw.id, name: raw.name, status: raw.status ?? '' }));

/** An availability zone. */
export interface Zone {
  name: string;
  isAvailable: boolean;
}

export const zoneSchema = z
  .object({ zoneName: z.string(), zoneState: z.object({ available: z.boolean() }) })

  .transform((raw): Zone => ({ name: raw.zoneName, isAvailable: raw.zoneState.available }));
