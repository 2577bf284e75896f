import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';
import { hasStatus } from '../core/api-error.js';
import {
  type Flavor,
  flavorSchema,
  type Limits,
  limitsSchema,
  type Network,
  networkSchema,
  type Zone,
  zoneSchema,
} from '../core/compute.js';
import type { CloudClient } from '../http/client.js';
import { listAll } from '../http/lists.js';
import type { CallOptions } from './server-actions.js';

/** What a cloud offers, for checks before a change. */
export class Checks {
  constructor(private readonly client: CloudClient) {}

  flavors({ signal }: CallOptions = {}): Promise<Flavor[]> {
    return listAll(this.client, {
      ...{ service: 'compute', path: ['flavors', 'detail'], route: '/flavors/detail', action: 'list the flavors', signal },
      ...{ key: 'flavors', item: flavorSchema, idOf: ({ id }) => id },
    });
  }

  /** @throws BAD_SPEC if there is none with this name or id */
  async flavor(nameOrId: string, options: CallOptions = {}): Promise<Flavor> {
    const flavors = await this.flavors(options);
    return chosen('flavor', nameOrId, flavors, ({ id, name }) => [id, name]);
  }

  /** @throws BAD_SPEC if there is none with this name or id, or several with this name */
  async network(nameOrId: string, { signal }: CallOptions = {}): Promise<Network> {
    const networks = await listAll<Network>(this.client, {
      ...{ service: 'network', path: ['networks'], route: '/networks', action: 'list the networks', signal },
      ...{ key: 'networks', item: networkSchema, idOf: ({ id }) => id },
    });
    return chosen('network', nameOrId, networks, ({ id, name }) => [id, name]);
  }

  /** @throws BAD_SPEC if it is missing or closed */
  async zone(name: string, { signal }: CallOptions = {}): Promise<void> {
    const zones = await listAll<Zone>(this.client, {
      ...{
        service: 'compute',
        path: ['os-availability-zone'],
        route: '/os-availability-zone',
        action: 'list the availability zones',
        signal,
      },
      ...{ key: 'availabilityZoneInfo', item: zoneSchema, idOf: (zone) => zone.name },
    });
    const open = zones.filter(({ isAvailable }) => isAvailable);
    chosen('availability zone', name, open, (zone) => [zone.name]);
  }

  /** Whether the user has a key pair of this name. */
  async hasKeyPair(name: string, { signal }: CallOptions = {}): Promise<boolean> {
    try {
      await this.client.call({
        ...{ service: 'compute', method: 'GET', path: ['os-keypairs', name], route: '/os-keypairs/{name}', repetition: 'safe', signal },
        ...{ action: `read key pair ${name}`, schema: z.unknown() },
      });
      return true;
    } catch (error) {
      if (hasStatus(error, 404)) return false;
      throw error;
    }
  }

  limits({ signal }: CallOptions = {}): Promise<Limits> {
    return this.client.call({
      ...{ service: 'compute', method: 'GET', path: ['limits'], route: '/limits', repetition: 'safe', signal },
      ...{ action: 'read the quota of the project', schema: limitsSchema },
    });
  }
}

function chosen<T>(kind: string, wanted: string, all: readonly T[], namesOf: (one: T) => string[]): T {
  const [found, ...others] = all.filter((one) => namesOf(one).includes(wanted));
  if (found !== undefined && others.length === 0) return found;
  if (found !== undefined) {
    throw new CowherdError('BAD_SPEC', `${others.length + 1} of the cloud's ${kind}s are named ${wanted}`, {
      hint: `Use the id of the ${kind}.`,
    });
  }
  const names = all.map((one) => namesOf(one).at(-1) ?? '').sort((a, b) => distance(a, wanted) - distance(b, wanted));
  const hint =
    names.length === 0
      ? `The project has no ${kind}. Ask the operator of the cloud for one.`
      : `Use one of: ${names.slice(0, 10).join(', ')}.`;
  throw new CowherdError('BAD_SPEC', `The cloud has no ${kind} ${wanted}`, { hint });
}
