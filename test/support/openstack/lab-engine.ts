import { inspectGuestFiles } from '../../../src/adapters/guest-files/inspect.js';
import { localFiles } from '../../../src/adapters/host/local-files.js';
import { readNamedFile } from '../../../src/adapters/host/named-files.js';
import { OpenSsh } from '../../../src/adapters/host/ssh.js';
import { readBuiltInTemplate } from '../../../src/adapters/host/templates.js';
import { AgentSockets } from '../../../src/adapters/libvirt/agent-sockets.js';
import { FleetDirectory } from '../../../src/adapters/store/fleet-store.js';
import { SeedDirectory } from '../../../src/adapters/store/seed-store.js';
import { CowherdError } from '../../../src/core/errors.js';
import type { NovaPorts } from '../../../src/engines/nova/context.js';
import { openStack } from '../../../src/engines/nova/declaration.js';
import { openNova } from '../../../src/engines/nova/engine.js';
import { findSettings } from '../../../src/engines/nova/settings/find-settings.js';
import type { Clock } from '../../../src/ports/machine.js';
import type { Engine } from '../../../src/services/engine/engine.js';

export const labUri = 'openstack:///';
/** The only address of this host. */
export const labHostAddress = '192.0.2.1';

export interface LabPortsOptions {
  /** Directory of the records. */
  root: string;
  clock: Clock;
  /** Default: the real ssh. */
  remote?: NovaPorts['remote'];
}

export interface LabEngineOptions extends LabPortsOptions {
  /** The variables of a login. */
  environment: Record<string, string>;
  concurrency?: number;
}

/** The engine as the command line opens it, with real files and another clock. */
export async function openLabEngine({ environment, concurrency, ...ports }: LabEngineOptions): Promise<Engine> {
  const settings = await findSettings(labUri, { environment });
  return openNova({ settings, uri: labUri, ...(concurrency === undefined ? {} : { concurrency }) }, labPorts(ports));
}

/** As the command line connects them, but for the clock, ssh and the addresses of this host. */
export function labPorts({ root, clock, remote = new OpenSsh() }: LabPortsOptions): NovaPorts {
  return {
    fleets: new FleetDirectory(root, new AgentSockets(true), {}, openStack.name),
    seeds: new SeedDirectory(root),
    remote,
    files: localFiles,
    agent: {
      command: async (member) => {
        throw new CowherdError('GUEST_UNREACHABLE', `${member} has no agent`, { hint: 'There is none in the cloud.' });
      },
    },
    clock,
    readFile: readNamedFile,
    builtInTemplate: readBuiltInTemplate,
    networks: { hostAddresses: () => new Set([labHostAddress]) },
    inspectGuestFiles,
    memory: { readFreeze: async () => undefined },
  };
}
