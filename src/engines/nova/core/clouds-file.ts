import { distance } from 'fastest-levenshtein';
import { parseDocument } from 'yaml';
import { CowherdError } from '../../../core/errors.js';
import { type CloudEntry, cloudEntrySchema, mergeEntries, withUnderscores } from './settings-entry.js';

export interface SettingsFile {
  path: string;
  text: string;
}

/**
 * The entry of a cloud in clouds.yaml, with what secure.yaml adds to it.
 * @throws BAD_USAGE if the file is invalid or has no such cloud; contents of the file are never quoted
 */
export function entryFromFile(file: SettingsFile, secure: SettingsFile | undefined, cloud: string): CloudEntry {
  const clouds = cloudsIn(file);
  const found = clouds.get(cloud);
  if (found === undefined) throw unknownCloud(file.path, cloud, [...clouds.keys()]);
  const secret = secure === undefined ? undefined : cloudsIn(secure).get(cloud);
  const merged = mergeEntries(withUnderscores(found), withUnderscores(secret));
  const result = cloudEntrySchema.safeParse(merged);
  if (result.success) return result.data;
  throw new CowherdError('BAD_USAGE', `Cloud ${cloud} in ${file.path} is invalid`, {
    details: result.error.issues.map(({ path }) => `${['clouds', cloud, ...path].join('.')} has the wrong type`),
    hint: `Correct ${file.path}. A cloud has the fields auth, region_name, interface, cacert and verify, all but auth a single value.`,
  });
}

function unknownCloud(path: string, cloud: string, names: readonly string[]): CowherdError {
  const near = [...names].sort((a, b) => distance(a, cloud) - distance(b, cloud));
  const hint =
    near[0] === undefined
      ? `Add it to clouds: in ${path}.`
      : `Use openstack://${near[0]}, or add it to ${path}. The clouds there: ${[...names].sort().slice(0, 20).join(', ')}.`;
  return new CowherdError('BAD_USAGE', `There is no cloud ${cloud} in ${path}`, { hint });
}

function cloudsIn({ path, text }: SettingsFile): Map<string, unknown> {
  // All scalars as text: 0123, yes and 1e3 are possible passwords.
  const document = parseDocument(text, { schema: 'failsafe', merge: true, prettyErrors: false, logLevel: 'silent' });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const line = text.slice(0, problem.pos[0]).split('\n').length;
    // The message of the parser may quote the line.
    throw new CowherdError('BAD_USAGE', `${path}:${line}: invalid YAML`, {
      hint: `Correct line ${line} of ${path}, or move the file away.`,
    });
  }
  const clouds = readClouds(document, path);
  if (typeof clouds !== 'object' || clouds === null || Array.isArray(clouds)) {
    throw new CowherdError('BAD_USAGE', `${path} has no clouds`, { hint: `Add clouds: and a cloud below it to ${path}.` });
  }
  return new Map(Object.entries(clouds));
}

function readClouds(document: ReturnType<typeof parseDocument>, path: string): unknown {
  try {
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    return typeof value === 'object' && value !== null && 'clouds' in value ? value.clouds : undefined;
  } catch {
    // Too many aliases, or one without an anchor. The message may quote the file.
    throw new CowherdError('BAD_USAGE', `${path} has invalid aliases`, { hint: `Correct ${path}, or move the file away.` });
  }
}
