import type { Platform } from '../core/domain/template.js';
import type { CowherdError } from '../core/errors.js';
import type { DomainState, MemberMark } from '../core/fleet/observation.js';

export interface DomainDefinition {
  name: string;
  xml: string;
}

export interface Hypervisor {
  readonly uri: string;
  /** Whether it is the system daemon, which runs QEMU as a user of its own. */
  readonly isSystem: boolean;
  listDomains(): Promise<DomainState[]>;
  /** Makes a disk of a running domain larger, which its guest sees at once. @param path of the disk's file */
  growDisk(name: string, path: string, virtualBytes: number): Promise<void>;
  /** Of one domain, now. @throws DOMAIN_NOT_FOUND */
  stateOf(name: string): Promise<Pick<DomainState, 'state' | 'reason'>>;
  /**
   * The marks of those domains that carry one. Domains that went away meanwhile are left out.
   * @param failed takes the errors of domains that could not be read, by name; left out, the first one is thrown
   */
  readMarks(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, MemberMark>>;
  /** The XML of domains as they are defined. Domains that went away meanwhile are left out. @param failed as in {@link readMarks} */
  readXml(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, string>>;
  /** @param options.validate hold it against libvirt's schema first */
  define(definition: DomainDefinition, options?: { validate?: boolean }): Promise<void>;
  /** Starts a domain that is not kept when it ends: for probes. */
  createTransient(definition: DomainDefinition): Promise<void>;
  /** @param savedBytes how much memory libvirt has kept of it, for how long that may take */
  start(name: string, savedBytes?: number): Promise<void>;
  /** Starts it with its guest held before the first instruction. */
  startPaused(name: string): Promise<void>;
  /** Lets a paused guest go on; what its disk refused is tried again. */
  resume(name: string): Promise<void>;
  /** Of domains that a disk error may have paused: which disks, and libvirt's word for why, e.g. `vda: no space`. Those that do not answer are left out. */
  readDiskErrors(names: readonly string[]): Promise<Map<string, string>>;
  /** Ends the guest at once. */
  destroy(name: string): Promise<void>;
  /** Asks the guest to shut down, by its agent if it answers, else by ACPI; returns when asked. */
  shutdown(name: string): Promise<void>;
  /** With NVRAM, TPM state, managed save, and the records of snapshots and checkpoints. Never touches disks. */
  undefine(name: string): Promise<void>;
  /** What libvirt keeps of snapshots and checkpoints that were made with it, by their names. */
  snapshotsOf(name: string): Promise<{ snapshots: string[]; checkpoints: string[] }>;
  /** Names of domains that libvirt keeps snapshots or checkpoints of. */
  listSnapshotted(): Promise<Set<string>>;
  /** Has libvirt forget them. Never touches disks. */
  forgetSnapshots(name: string): Promise<void>;
  /** Removes the image of a managed save, if there is one: its memory does not belong to a fresh disk. */
  forgetSavedState(name: string): Promise<void>;
  /** Stops a running guest with its memory saved where libvirt keeps it: the next start goes on from there. */
  saveManaged(name: string, memoryBytes: number): Promise<void>;
  /** Brings a domain that is off up from a file with its memory; it is paused then. */
  restorePaused(name: string, file: string, memoryBytes: number): Promise<void>;
  /** Plugs the cable of a network card of a running domain in or out. */
  setLink(name: string, mac: string, isUp: boolean): Promise<void>;
  /** Names of domains that are off with their memory saved (managed save): a start goes on where they were. */
  listSaved(): Promise<Set<string>>;
  /** Gives the terminal to a domain's console. @returns virsh's exit code */
  attachConsole(name: string): Promise<number>;
  platform(virtType: 'kvm' | 'qemu'): Promise<Platform>;
  versions(): Promise<{ libvirt: string; hypervisor: string }>;
  /** uid and gid that QEMU runs as; undefined where libvirt does not change them. */
  qemuUser(): Promise<{ uid: number; gid: number } | undefined>;
  close(): Promise<void>;
}
