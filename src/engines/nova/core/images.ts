import { z } from 'zod';
import type { Verdict } from './settling.js';

/** An image of the Image API: only the fields that are used. */
export interface Image {
  id: string;
  name: string;
  /** queued, saving, active …; other values are possible. */
  status: string;
  /** Bytes of the file; undefined before it is uploaded. */
  bytes: number | undefined;
  virtualBytes: number | undefined;
  format: string | undefined;
  minDiskGiB: number;
  minRamMiB: number;
  isProtected: boolean;
  visibility: string;
  /** Id of the project. */
  owner: string | undefined;
  tags: string[];
  /** Hash of the file, hexadecimal, with its algorithm, such as sha512. */
  hash: { algorithm: string; value: string } | undefined;
  /** Further properties with text values, such as instance_uuid and base_image_ref of an image of a server. */
  properties: Record<string, string>;
  created: string;
}

const known = {
  id: z.string().min(1),
  name: z.string().nullish(),
  status: z.string(),
  size: z.number().nullish(),
  virtual_size: z.number().nullish(),
  disk_format: z.string().nullish(),
  min_disk: z.number().nullish(),
  min_ram: z.number().nullish(),
  protected: z.boolean().nullish(),
  visibility: z.string().nullish(),
  owner: z.string().nullish(),
  tags: z.array(z.string()).nullish(),
  os_hash_algo: z.string().nullish(),
  os_hash_value: z.string().nullish(),
  created_at: z.string(),
};

export const imageSchema = z.looseObject(known).transform(
  (raw): Image => ({
    id: raw.id,
    name: raw.name ?? '',
    status: raw.status,
    bytes: raw.size ?? undefined,
    virtualBytes: raw.virtual_size ?? undefined,
    format: raw.disk_format ?? undefined,
    minDiskGiB: raw.min_disk ?? 0,
    minRamMiB: raw.min_ram ?? 0,
    isProtected: raw.protected ?? false,
    visibility: raw.visibility ?? 'private',
    owner: raw.owner ?? undefined,
    tags: raw.tags ?? [],
    hash: raw.os_hash_algo && raw.os_hash_value ? { algorithm: raw.os_hash_algo, value: raw.os_hash_value.toLowerCase() } : undefined,
    properties: Object.fromEntries(
      Object.entries(raw).filter((entry): entry is [string, string] => !(entry[0] in known) && typeof entry[1] === 'string'),
    ),
    created: raw.created_at,
  }),
);

/** What a wait for an image to become active has seen. absent: the cloud removes the image of a server if it cannot be completed. */
export function judgeImage(image: Pick<Image, 'status'> | 'absent'): Verdict {
  if (image === 'absent') return { state: 'failed', reason: 'the cloud has removed it' };
  if (image.status === 'active') return { state: 'settled' };
  if (['killed', 'deleted', 'pending_delete', 'deactivated'].includes(image.status))
    return { state: 'failed', reason: `it is ${image.status}` };
  return { state: 'working' };
}
