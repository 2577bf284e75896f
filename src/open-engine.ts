import { join, resolve } from 'node:path';
import { inspectGuestFiles } from './adapters/guest-files/inspect.js';
import { hostAddresses } from './adapters/host/addresses.js';
import { systemClock } from './adapters/host/clock.js';
import { localFiles } from './adapters/host/local-files.js';
import { readNamedFile } from './adapters/host/named-files.js';
import { OpenSsh } from './adapters/host/ssh.js';
import { readBuiltInTemplate } from './adapters/host/templates.js';
import { AgentSockets } from './adapters/libvirt/agent-sockets.js';
import { assertStoreDirectory } from './adapters/store/files/directories.js';
import { FleetDirectory } from './adapters/store/fleet-store.js';
import { SeedDirectory } from './adapters/store/seed-store.js';
import type { EngineDeclaration } from './core/engine/declaration.js';
import { CowherdError } from './core/errors.js';
import type { NovaPorts } from './engines/nova/context.js';
import { type HostOptions, lockPolicy, openHost, userStore } from './host.js';
import type { Ports } from './ports/index.js';
import type { Engine } from './services/engine/engine.js';
import { localEngine } from './services/engine/local.js';
import { thisHost } from './services/engine/this-host.js';

/** Opens the engine that a connection names. The modules of an engine are only loaded if it is used. */

export interface EngineOptions extends HostOptions {
  /** A libvirt URI, or openstack://CLOUD; default: as for openHost. */
  connect?: string | undefined;
  /** Requests in flight at most, on a cloud. */
  concurrency?: number | undefined;
  /** Reads a file that the user named; default: from the disk. */
  readFile?: Ports['readFile'] | undefined;
}

const nova = () => import('./engines/nova/index.js');

function isOpenStack(connect: string | undefined): connect is string {
  return connect !== undefined && /^openstack:/i.test(connect);
}

/** What the engine of a connection can do; it is not opened. */
export async function declarationOf(connect: string | undefined): Promise<EngineDeclaration> {
  return isOpenStack(connect) ? (await nova()).openStack : thisHost;
}

/**
 * Opens the engine of a connection. Nothing is sent to a cloud before the first call.
 * @throws BAD_USAGE, NOT_SUPPORTED for other connections; FILE_NOT_FOUND if the settings of the cloud are missing
 */
export async function openEngine(options: EngineOptions = {}): Promise<Engine> {
  const { connect, readFile } = options;
  if (isOpenStack(connect)) return openCloud(connect, options);
  const host = await openHost(options);
  return localEngine(readFile === undefined ? host : { ...host, readFile }, host.close);
}

/** The store of a cloud, if none is given. @throws BAD_USAGE, FILE_NOT_FOUND, NOT_SUPPORTED */
export async function defaultCloudStore(connect: string): Promise<string | undefined> {
  if (!isOpenStack(connect)) return undefined;
  const { findSettings, storeName } = await nova();
  return storeOf(storeName(await findSettings(connect)));
}

function storeOf(name: string): string {
  return join(userStore(), 'openstack', name);
}

async function openCloud(uri: string, options: EngineOptions): Promise<Engine> {
  const { findSettings, openNova, openStack, storeName } = await nova();
  const settings = await findSettings(uri);
  const root = resolve(options.store ?? (process.env.COWHERD_STORE || storeOf(storeName(settings))));
  await assertStoreDirectory(root);
  const ports: NovaPorts = {
    // No member has an agent's socket on this host.
    fleets: new FleetDirectory(root, new AgentSockets(true), lockPolicy(options), openStack.name),
    seeds: new SeedDirectory(root),
    agent: { command: async (member) => Promise.reject(noAgent(member)) },
    remote: new OpenSsh(),
    files: localFiles,
    clock: systemClock,
    readFile: options.readFile ?? readNamedFile,
    builtInTemplate: readBuiltInTemplate,
    networks: { hostAddresses },
    inspectGuestFiles,
    memory: { readFreeze: async () => undefined },
  };
  return openNova({ settings, uri, concurrency: options.concurrency }, ports);
}

function noAgent(member: string): CowherdError {
  return new CowherdError('GUEST_UNREACHABLE', `The guest agent of ${member} cannot be reached: it is in a cloud`, {
    hint: 'Use ssh: --via ssh',
  });
}
