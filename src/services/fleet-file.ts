import { dirname, isAbsolute, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { isBaseRef } from '../core/base.js';
import { CowherdError } from '../core/errors.js';
import { type FleetInput, parseFleetFile, sourceKinds } from '../core/spec.js';
import type { Ports } from '../ports.js';

const maxFileBytes = 1024 * 1024;

/**
 * Reads a fleet file, YAML or JSON. Paths in it are relative to it.
 * @throws FILE_NOT_FOUND, BAD_SPEC
 */
export async function readFleetFile(ports: Pick<Ports, 'readFile'>, path: string): Promise<FleetInput[]> {
  const text = await ports.readFile(path);
  if (text.length > maxFileBytes)
    throw new CowherdError('BAD_SPEC', `${path} is larger than a fleet file can be`, { hint: 'Is it the right file?' });
  const document = parseDocument(text, { uniqueKeys: true });
  const problem = document.errors[0];
  if (problem !== undefined) {
    throw new CowherdError('BAD_SPEC', `${path} is not YAML: ${problem.message.split('\n')[0]}`, {
      hint: 'Check the indentation and the quotes at that line.',
    });
  }
  let value: unknown;
  try {
    // A handful of aliases is honest use; thousands are a bomb.
    value = document.toJS({ maxAliasCount: 50 });
  } catch (cause) {
    throw new CowherdError('BAD_SPEC', `${path} cannot be read: ${(cause as Error).message}`, {
      hint: 'Write the values out instead of using aliases.',
      cause,
    });
  }
  const from = dirname(resolve(path));
  return parseFleetFile(value, path).map((fleet) => ({
    ...fleet,
    ...(fleet.base === undefined ? {} : { base: isBaseRef(fleet.base) ? fleet.base : resolvePath(from, fleet.base) }),
    ...Object.fromEntries(
      [...sourceKinds, 'nvram' as const].flatMap((kind) => {
        const file = fleet[kind];
        return file === undefined ? [] : [[kind, resolvePath(from, file)]];
      }),
    ),
  }));
}

function resolvePath(from: string, path: string): string {
  return isAbsolute(path) ? path : resolve(from, path);
}
