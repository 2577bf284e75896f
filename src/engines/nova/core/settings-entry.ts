import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';
import type { NameOrId } from './settings.js';

/** Scalars are read as text, so that a password such as 0123 is what is in the file. Empty text means that a field is not set. */
const text = z
  .string()
  .optional()
  .transform((value) => (value === undefined || value === '' ? undefined : value));

const authFields = z.object({
  auth_url: text,
  username: text,
  user_id: text,
  password: text,
  project_name: text,
  project_id: text,
  tenant_name: text,
  tenant_id: text,
  user_domain_name: text,
  user_domain_id: text,
  project_domain_name: text,
  project_domain_id: text,
  domain_name: text,
  domain_id: text,
  default_domain: text,
  default_domain_id: text,
  default_domain_name: text,
  system_scope: text,
  application_credential_id: text,
  application_credential_name: text,
  application_credential_secret: text,
});

/** One cloud of clouds.yaml, or what the OS_* variables say: only the fields that are used. */
export const cloudEntrySchema = z.object({
  auth: authFields.optional().transform((fields) => fields ?? authFields.parse({})),
  auth_type: text,
  profile: text,
  cloud: text,
  identity_api_version: text,
  region_name: text,
  regions: z.array(z.union([z.string(), z.object({ name: z.string() }).transform(({ name }) => name)])).optional(),
  interface: text,
  endpoint_type: text,
  verify: text,
  insecure: text,
  cacert: text,
  cert: text,
  key: text,
  compute_endpoint_override: text,
  image_endpoint_override: text,
  network_endpoint_override: text,
});

export type CloudEntry = z.output<typeof cloudEntrySchema>;
export type AuthFields = CloudEntry['auth'];

/** The fields of an entry with `-` in their names written with `_`, as the OpenStack clients read them. */
export function withUnderscores(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.replaceAll('-', '_'), withUnderscores(inner)]));
}

/** Adds the fields of secure.yaml to those of clouds.yaml, at any depth; secure.yaml has precedence. */
export function mergeEntries(entry: unknown, secure: unknown): unknown {
  if (secure === undefined) return entry;
  if (!isRecord(entry) || !isRecord(secure)) return secure;
  const merged: Record<string, unknown> = { ...entry };
  for (const [key, value] of Object.entries(secure)) merged[key] = key in entry ? mergeEntries(entry[key], value) : value;
  return merged;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws BAD_USAGE if it is none of the words for true and false */
export function booleanOf(value: string | undefined, name: string, source: string): boolean | undefined {
  if (value === undefined) return undefined;
  if (/^(true|yes|on|1)$/i.test(value)) return true;
  if (/^(false|no|off|0)$/i.test(value)) return false;
  throw new CowherdError('BAD_USAGE', `${name} in ${source} is neither true nor false`, {
    hint: `Set ${name} to true or false in ${source}.`,
  });
}

/** The domain of a user or project. With neither name nor id it is the one with the id "default". */
export function domainOf(id: string | undefined, name: string | undefined, fields: AuthFields): NameOrId {
  if (id !== undefined) return { id };
  if (name !== undefined) return { name };
  if (fields.default_domain_name !== undefined) return { name: fields.default_domain_name };
  return { id: fields.default_domain_id ?? fields.default_domain ?? 'default' };
}
