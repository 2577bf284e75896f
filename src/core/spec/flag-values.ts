import type { z } from 'zod';
import { CowherdError } from '../errors.js';
import { type FleetInput, fleetSchema } from './spec.js';

/** Checks values of flags with the schema of the file, so that messages are the same. */
export function parseFlagValues<T extends Partial<z.input<typeof fleetSchema>>>(values: T, command = 'spawn'): Partial<FleetInput> {
  const result = fleetSchema.partial().safeParse(values);
  if (!result.success) {
    throw new CowherdError('BAD_USAGE', 'A flag has an invalid value', {
      details: result.error.issues.slice(0, 20).map((issue) => `${flagAt(issue.path)}: ${issue.message}`),
      hint: `See "cowherd ${command} --help".`,
    });
  }
  return result.data;
}

const flagOf: Readonly<Record<string, string>> = { disks: '--disk', rootSize: '--disk-size', sshUser: '--ssh-user', variables: '--var' };

/** Parts of a flag that a fleet file calls otherwise. */
const partOf: Readonly<Record<string, string>> = { clusterSize: 'cluster-size', extendedL2: 'extended-l2' };

/** The flag of a value, with the relevant part: `--disk name`. */
function flagAt([first, ...rest]: readonly PropertyKey[]): string {
  const field = String(first);
  const parts = rest.filter((part) => typeof part !== 'number' && part !== 'size').map((part) => partOf[String(part)] ?? String(part));
  return [flagOf[field] ?? `--${field}`, ...parts].join(' ');
}

export interface NetworkChoice {
  kind: 'none' | 'user' | 'network' | 'bridge';
  /** Name of the libvirt network or the bridge; empty for the others. */
  source: string;
}

export function parseNetwork(text: string): NetworkChoice {
  const [kind = 'none', source = ''] = text.split('=', 2);
  return { kind: kind as NetworkChoice['kind'], source };
}
