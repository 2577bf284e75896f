import type { Platform } from '../core/domain/template.js';
import type { CowherdError } from '../core/errors.js';
import type { DomainState, MemberMark } from '../core/fleet/observation.js';

export interface DomainDefinition {
  name: string;
  xml: string;
}

export interface Hypervisor {
  readonly uri: string;
  /** Whether it is the system daemon, which runs QEMU as a separate user. */
  readonly isSystem: boolean;
  listDomains(): Promise<DomainState[]>;
  /** Enlarges a disk of a running domain; its guest sees the new size at once. @param path the disk's file */
  growDisk(name: string, path: string, virtualBytes: number): Promise<void>;
  /** Current state of one domain. @throws DOMAIN_NOT_FOUND */
  stateOf(name: string): Promise<Pick<DomainState, 'state' | 'reason'>>;
  /** The marks of domains that have one. Domains that were removed meanwhile are skipped.
   * @param failed receives the errors of unreadable domains by name; without it, the first error is thrown
   */
  readMarks(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, MemberMark>>;
  /** The XML definitions of domains. Domains that were removed meanwhile are skipped. @param failed as in {@link readMarks} */
  readXml(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, string>>;
  /** @param options.validate validate against libvirt's schema first */
  define(definition: DomainDefinition, options?: { validate?: boolean }): Promise<void>;
  /** Starts a transient domain, for probes. */
  createTransient(definition: DomainDefinition): Promise<void>;
  /** @param savedBytes size of its managed save, for the time limit */
  start(name: string, savedBytes?: number): Promise<void>;
  /** Starts it paused before the first instruction. */
  startPaused(name: string): Promise<void>;
  /** Resumes a paused guest; failed disk requests are retried. */
  resume(name: string): Promise<void>;
  /**
   * Disk errors of domains that may be paused because of them, in libvirt's words, e.g. `vda: no space`. Domains that do not answer are
   * skipped.
   */
  readDiskErrors(names: readonly string[]): Promise<Map<string, string>>;
  /** Forces the guest off. */
  destroy(name: string): Promise<void>;
  /** Asks the guest to shut down, by its agent if it answers, otherwise by ACPI. Does not wait for the shutdown. */
  shutdown(name: string): Promise<void>;
  /** Undefines a domain with its NVRAM, TPM state, managed save and records of snapshots and checkpoints. Never changes disks. */
  undefine(name: string): Promise<void>;
  /** Names of a domain's libvirt snapshots and checkpoints. */
  snapshotsOf(name: string): Promise<{ snapshots: string[]; checkpoints: string[] }>;
  /** Names of domains with libvirt snapshots or checkpoints. */
  listSnapshotted(): Promise<Set<string>>;
  /** Removes libvirt's records of them. Never changes disks. */
  forgetSnapshots(name: string): Promise<void>;
  /** Removes the managed save, if any: its memory does not match a fresh disk. */
  forgetSavedState(name: string): Promise<void>;
  /** Stops a running guest with a managed save: the next start resumes it. */
  saveManaged(name: string, memoryBytes: number): Promise<void>;
  /** Restores a stopped domain from a memory file; it is paused afterwards. */
  restorePaused(name: string, file: string, memoryBytes: number): Promise<void>;
  /** Sets the link state of a running domain's network card. */
  setLink(name: string, mac: string, isUp: boolean): Promise<void>;
  /** Names of stopped domains with a managed save: a start resumes them. */
  listSaved(): Promise<Set<string>>;
  /** Connects the terminal to a domain's console. @returns virsh's exit code */
  attachConsole(name: string): Promise<number>;
  platform(virtType: 'kvm' | 'qemu'): Promise<Platform>;
  versions(): Promise<{ libvirt: string; hypervisor: string }>;
  /** uid and gid of QEMU; undefined if libvirt does not change them. */
  qemuUser(): Promise<{ uid: number; gid: number } | undefined>;
  /** Security drivers that confine QEMU: apparmor, selinux. */
  confinements(): Promise<string[]>;
  close(): Promise<void>;
}
