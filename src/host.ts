import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { openBrowser } from './adapters/dashboard/browser.js';
import { readPageFiles } from './adapters/dashboard/page-files.js';
import { openConsole, takeScreenshot } from './adapters/dashboard/screens.js';
import { sessionKeys } from './adapters/dashboard/session-keys.js';
import { HttpDownloads } from './adapters/download/downloads.js';
import { inspectContents } from './adapters/guest-files/contents.js';
import { inspectGuestFiles } from './adapters/guest-files/inspect.js';
import { readBuiltInCatalog } from './adapters/host/catalog.js';
import { systemClock } from './adapters/host/clock.js';
import { localFiles } from './adapters/host/local-files.js';
import { LocalMachine } from './adapters/host/machine.js';
import { readNamedBytes, readNamedFile, writeNewFile } from './adapters/host/named-files.js';
import { replaceOwnFile } from './adapters/host/own-output.js';
import { Readers } from './adapters/host/readers.js';
import { OpenSsh } from './adapters/host/ssh.js';
import { readBuiltInTemplate } from './adapters/host/templates.js';
import { BaseDirectory } from './adapters/image/base-store.js';
import { diskFiles } from './adapters/image/disk-files.js';
import { generalizeDisk } from './adapters/image/virt-sysprep.js';
import { AgentSockets } from './adapters/libvirt/agent-sockets.js';
import { chooseConnection, isSystemUri } from './adapters/libvirt/connection.js';
import { Virsh } from './adapters/libvirt/virsh.js';
import { VirshAgent } from './adapters/libvirt/virsh-agent.js';
import { watchDomains } from './adapters/libvirt/virsh-events.js';
import { VirshForeignDomains } from './adapters/libvirt/virsh-foreign-domains.js';
import { VirshNetworks } from './adapters/libvirt/virsh-network.js';
import { LongModeProbe } from './adapters/qemu/accelerator.js';
import { QemuMonitor } from './adapters/qemu/monitor.js';
import { QemuImg } from './adapters/qemu/qemu-img.js';
import { QemuSnapshotOverlays } from './adapters/qemu/snapshot-overlays.js';
import { CheckpointDirectory } from './adapters/store/checkpoint-store.js';
import { assertStoreDirectory } from './adapters/store/files/directories.js';
import { FleetDirectory } from './adapters/store/fleet-store.js';
import { FleetWatch } from './adapters/store/fleet-watch.js';
import { systemStore } from './adapters/store/layout.js';
import type { LockPolicy } from './adapters/store/lock.js';
import { MemoryDirectory } from './adapters/store/memory-store.js';
import { OverlayDirectory } from './adapters/store/overlay-store.js';
import { SeedDirectory } from './adapters/store/seed-store.js';
import { SnapshotDirectory } from './adapters/store/snapshot-store.js';
import { StoreDirectory } from './adapters/store/survey.js';
import { parseDuration } from './core/duration.js';
import { assertWithin, limits } from './core/limits.js';
import type { Ports } from './ports/index.js';

export interface HostOptions {
  /** libvirt connection URI; default: chosen by this user's permissions. */
  connect?: string | undefined;
  /** The store's directory; default: depends on the connection. */
  store?: string | undefined;
  /** Number of connections to libvirt and of concurrent calls (default 8). */
  sessions?: number | undefined;
  /** Time limit for a call to libvirt, in milliseconds (default: COWHERD_LIBVIRT_TIMEOUT, otherwise 120 s). */
  timeoutMs?: number | undefined;
  /** The verb, e.g. `base add`: shown to other runs that wait for a lock. */
  verb?: string | undefined;
  /** Maximum wait for locks of other runs, in milliseconds (default: none for fleets, 10 minutes for base images). */
  lockTimeoutMs?: number | undefined;
  /** Cancels a wait for a lock. */
  signal?: AbortSignal | undefined;
  /** Called with a message when a wait for a lock starts. */
  onLockWait?: ((text: string) => void) | undefined;
}

export interface Host extends Ports {
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Connects the adapters to the ports for one host and one connection. */
export async function openHost(options: HostOptions = {}): Promise<Host> {
  assertWithin({ sessions: [options.sessions, limits.concurrency], timeoutMs: [options.timeoutMs, limits.timeoutMs] });
  assertWithin({ lockTimeoutMs: [options.lockTimeoutMs, limits.timeoutMs] });
  const locking = lockPolicy(options);
  const machine = new LocalMachine();
  const uri = await chooseConnection(options.connect, machine.isRoot());
  const root = resolve(options.store ?? (process.env.COWHERD_STORE || defaultStore(uri)));
  await assertStoreDirectory(root);
  const agentSockets = new AgentSockets(isSystemUri(uri));
  const fleets = new FleetDirectory(root, agentSockets, locking);
  const snapshots = new SnapshotDirectory(root, locking);
  const hypervisor = new Virsh({
    uri,
    sessions: options.sessions ?? 8,
    timeoutMs: options.timeoutMs ?? timeoutOfEnvironment() ?? 120_000,
    inherit: () => [...fleets.heldDescriptors(), ...snapshots.heldDescriptors()],
    inheritance: () => fleets.lockChanges + snapshots.lockChanges,
  });
  const images = new QemuImg(() => fleets.heldDescriptors());
  const readers = new Readers(() => hypervisor.qemuUser(), root);
  const close = (): Promise<void> => hypervisor.close();
  return {
    hypervisor,
    networks: new VirshNetworks(hypervisor.run),
    agent: new VirshAgent(hypervisor.runOnce),
    remote: new OpenSsh(),
    seeds: new SeedDirectory(root),
    files: localFiles,
    images,
    bases: new BaseDirectory(root, images, readers, locking),
    downloads: new HttpDownloads(root, locking),
    memory: new MemoryDirectory(root, uri, readers),
    fleets,
    overlays: new OverlayDirectory(root),
    domains: new VirshForeignDomains(uri, hypervisor),
    disks: diskFiles,
    snapshotOverlays: new QemuSnapshotOverlays(() => snapshots.heldDescriptors()),
    snapshots,
    checkpoints: new CheckpointDirectory(root),
    monitor: new QemuMonitor(hypervisor.runOnce),
    events: {
      watchDomains: (listener, signal) => watchDomains(uri, listener, signal),
      watchFleets: (onChange, signal) => new FleetWatch(root, onChange).run(signal),
    },
    survey: new StoreDirectory(root, readers),
    machine,
    accelerator: new LongModeProbe(root, { hypervisor, images, agentSockets, clock: systemClock }),
    dashboard: {
      pageFiles: readPageFiles,
      sessionKeys,
      openBrowser,
      console: (domain, { force }) => openConsole(uri, domain, force),
      screenshot: (domain) => takeScreenshot(uri, domain),
    },
    clock: systemClock,
    readFile: readNamedFile,
    readBytes: readNamedBytes,
    inspectGuestFiles,
    inspectContents,
    generalizeDisk: (overlay, signal) => generalizeDisk(overlay, { signal, inherit: fleets.heldDescriptors() }),
    writeNewFile,
    replaceOwnFile,
    builtInTemplate: readBuiltInTemplate,
    builtInCatalog: readBuiltInCatalog,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** How runs of a command wait for locks. */
export function lockPolicy({ verb, lockTimeoutMs, signal, onLockWait }: HostOptions): LockPolicy {
  return { verb, waitSignal: signal, waitSeconds: lockTimeoutMs === undefined ? undefined : lockTimeoutMs / 1000, onWait: onLockWait };
}

/** `COWHERD_LIBVIRT_TIMEOUT`, e.g. 30s or 5m. @throws BAD_USAGE */
function timeoutOfEnvironment(): number | undefined {
  const text = process.env.COWHERD_LIBVIRT_TIMEOUT;
  return text === undefined || text === '' ? undefined : parseDuration(text);
}

export function defaultStore(uri: string): string {
  return isSystemUri(uri) ? systemStore : userStore();
}

/** The store of this user. */
export function userStore(): string {
  return join(process.env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'cowherd');
}
