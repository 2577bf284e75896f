import type { FixUpPart } from '../core/guest/reidentify.js';
import type { GuestFacts } from '../core/image/hygiene.js';
import type { Contents } from '../core/image/origin.js';
import type { BaseStore } from './bases.js';
import type { CheckpointStore, Monitor } from './checkpoint.js';
import type { DashboardPorts } from './dashboard.js';
import type { Downloads } from './downloads.js';
import type { EventSources } from './events.js';
import type { FleetStore, OverlayStore } from './fleets.js';
import type { GuestAgent, LocalFiles, Networks, RemoteShell, SeedStore } from './guest.js';
import type { Hypervisor } from './hypervisor.js';
import type { ImageFile, ImageTool } from './images.js';
import type { AcceleratorProbe, Clock, Machine } from './machine.js';
import type { MemoryStore } from './memory.js';
import type { DiskFiles, ForeignDomains, SnapshotOverlays, SnapshotStore } from './snapshot.js';
import type { StoreSurvey } from './survey.js';

/** Interfaces that the services need from outside. An instance belongs to one host and one connection. Every call may fail with a CowherdError; calls are idempotent.
 */

export type * from './bases.js';
export type * from './checkpoint.js';
export type * from './dashboard.js';
export type * from './downloads.js';
export type * from './events.js';
export type * from './fleets.js';
export type * from './guest.js';
export type * from './hypervisor.js';
export type * from './images.js';
export type * from './machine.js';
export type * from './memory.js';
export type * from './snapshot.js';
export type * from './survey.js';

/** Built-in templates. */
export type BuiltInTemplate =
  | 'domain'
  | 'user-data'
  | 'meta-data'
  | `guest/${FixUpPart}`
  | 'guest/before-freeze'
  | 'guest/forget-login'
  | 'guest/generalize'
  | 'report/style'
  | 'report/script';

/** All ports of the services; assembled in host.ts. */
export interface Ports {
  hypervisor: Hypervisor;
  networks: Networks;
  agent: GuestAgent;
  remote: RemoteShell;
  seeds: SeedStore;
  files: LocalFiles;
  images: ImageTool;
  bases: BaseStore;
  downloads: Downloads;
  memory: MemoryStore;
  fleets: FleetStore;
  overlays: OverlayStore;
  domains: ForeignDomains;
  disks: DiskFiles;
  snapshotOverlays: SnapshotOverlays;
  snapshots: SnapshotStore;
  checkpoints: CheckpointStore;
  monitor: Monitor;
  events: EventSources;
  survey: StoreSurvey;
  machine: Machine;
  accelerator: AcceleratorProbe;
  dashboard: DashboardPorts;
  clock: Clock;
  /** Reads a file that the user named. @throws FILE_NOT_FOUND */
  readFile(path: string): Promise<string>;
  readBytes(path: string): Promise<Buffer>;
  /** Inspects guest files in a disk image without booting it; undefined if it cannot be read. Never throws. */
  inspectGuestFiles(path: string, format: 'qcow2' | 'raw', options?: { backing?: readonly ImageFile[] }): Promise<GuestFacts | undefined>;
  /** What is in a disk image, without booting it; only what could be found out. Never throws. */
  inspectContents(path: string, format: 'qcow2' | 'raw', options?: { backing?: readonly ImageFile[] }): Promise<Contents>;
  /**
   * Removes what members must not share from the disk of a VM that is shut off, with the system's own tool.
   * @returns false if this host does not have the tool
   * @throws TOOL_FAILED, for example for a guest that it does not know; TOOL_TIMEOUT, INTERRUPTED
   */
  generalizeDisk(overlay: string, signal?: AbortSignal): Promise<boolean>;
  /** Writes a file that the user named. @throws BAD_USAGE if it exists */
  writeNewFile(path: string, text: string): Promise<void>;
  /**
   * Writes a file that the user named, or replaces a regular file that begins with the same text or is empty, in one step.
   * @param store the directory in which it must not be
   * @throws BAD_USAGE if it exists and is anything else
   */
  replaceOwnFile(path: string, text: string, options: { begins: string; store: string }): Promise<void>;
  builtInTemplate(name: BuiltInTemplate): Promise<string>;
  /** The built-in catalog of images, JSON. */
  builtInCatalog(): Promise<string>;
}
