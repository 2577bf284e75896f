import type { HostEntry, Lease, NetworkDefinition, NetworkSide } from '../core/domain/network.js';
import type { FleetSecrets, Seed } from '../core/guest/seed.js';
import type { GuestText } from '../core/guest/text.js';
import type { Ipv4Address, SshPublicKey } from '../core/guest/values.js';

/** The calls that have to do with guests: their network, agent, ssh, and what they are told of themselves. */

export interface NetworkState {
  exists: boolean;
  active: boolean;
  persistent: boolean;
}

/** libvirt's networks. */
export interface Networks {
  state(name: string): Promise<NetworkState>;
  /** What it is now: while it runs, as it runs. */
  definition(name: string): Promise<NetworkDefinition>;
  /** What there is of it: as it runs, and as it is kept. */
  sides(name: string): Promise<Map<NetworkSide, NetworkDefinition>>;
  leases(name: string): Promise<Lease[]>;
  /**
   * Adds a static DHCP entry to one side of a network; one that is there already is fine.
   * @throws AddressTaken where there is another entry with its address, name or MAC
   */
  addHost(name: string, side: NetworkSide, host: HostEntry): Promise<void>;
  /** Removes one from one side; what is gone is fine. */
  removeHost(name: string, side: NetworkSide, host: HostEntry): Promise<void>;
  /** IPv4 addresses of this host's own network interfaces, as they are now. */
  hostAddresses(): ReadonlySet<string>;
  /** Ends leases before their time, as far as this user and this host can. */
  releaseLeases(bridge: string, leases: readonly Lease[]): Promise<void>;
  start(name: string): Promise<void>;
}

export interface GuestAgent {
  /**
   * Sends one command of qemu-ga's protocol.
   * @returns what stands in its `return`: anything at all; core/guest/agent.ts reads it
   * @throws GUEST_UNREACHABLE where no agent answers in time, GUEST_REFUSED where it does and will not
   */
  command(domain: string, command: object, timeoutSeconds: number): Promise<unknown>;
}

/** Where and as whom a member is logged in to. */
export interface SshEndpoint {
  member: string;
  host: Ipv4Address;
  port: number;
  user: string;
  /** File of the private key; undefined where the fleet has none and the person's own keys are tried. */
  identityFile: string | undefined;
  knownHostsFile: string;
  /** The host key is known beforehand; else the first one that is seen counts until the member's disk is gone. */
  isPinned: boolean;
}

export type SshFiles = Pick<SshEndpoint, 'identityFile' | 'knownHostsFile' | 'isPinned'>;

export interface RemoteResult {
  exitCode: number;
  stdout: GuestText;
  stderr: GuestText;
  truncated: boolean;
}

export interface RemoteRunOptions {
  timeoutMs: number;
  /** Kept of each stream; the rest is dropped. */
  keepBytes: number;
  signal?: AbortSignal | undefined;
  /** For the program's standard input. */
  input?: Uint8Array | undefined;
  /** Called with what is kept, as it comes. */
  onOutput?: OutputListener | undefined;
}

/** Told of a program's output, piece by piece; a piece may end in the middle of a line. */
export type OutputListener = (stream: 'stdout' | 'stderr', text: GuestText) => void;

/** ssh and scp. */
export interface RemoteShell {
  /** Whether something that speaks ssh answers there. */
  answers(host: Ipv4Address, port: number, timeoutMs: number): Promise<boolean>;
  /**
   * Runs a program with its arguments as they are, without a terminal and without asking anything.
   * @throws GUEST_UNREACHABLE where ssh itself fails
   */
  run(endpoint: SshEndpoint, argv: readonly string[], options: RemoteRunOptions): Promise<RemoteResult>;
  /** Gives the terminal to ssh. @param argv empty for a login shell @returns its exit code */
  interactive(endpoint: SshEndpoint, argv: readonly string[]): Promise<number>;
  copy(endpoint: SshEndpoint, options: CopyOptions): Promise<void>;
  /** Words of an ssh_config for an endpoint, without its Host line. */
  config(endpoint: SshEndpoint): string[];
  /** @throws TOOL_MISSING */
  version(): Promise<string>;
}

export interface CopyOptions {
  direction: 'to' | 'from';
  local: string;
  remote: string;
  recursive: boolean;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** What a seed in place says of itself. */
export interface PlacedSeed {
  instanceId: string;
  digest: string;
}

/** The cloud-init seeds of a fleet and what goes into them. */
export interface SeedStore {
  /** The tool that writes the images. @throws TOOL_MISSING */
  tool(): Promise<string>;
  observe(fleet: string): Promise<Map<string, PlacedSeed>>;
  /** Bytes on disk of all seeds of a fleet. */
  allocatedBytes(fleet: string): Promise<number>;
  /** Writes seeds beside where they will be. */
  stage(fleet: string, seeds: ReadonlyMap<string, Seed>): Promise<void>;
  /** Renames a staged seed over what is there. */
  place(fleet: string, member: string): Promise<void>;
  /** @throws STATE_DAMAGED */
  readSecrets(fleet: string): Promise<FleetSecrets | undefined>;
  writeSecrets(fleet: string, secrets: FleetSecrets): Promise<void>;
  /** Writes the client's private key, if there is one, and the host keys of members, by name, for ssh. */
  writeSshFiles(fleet: string, privateKey: string | undefined, hostKeys: ReadonlyMap<string, string>): Promise<void>;
  /** Read once for all members. @returns which files are a member's */
  sshFiles(fleet: string): Promise<(member: string) => SshFiles>;
  /** Records the host keys that a member's agent reported: no others are accepted from then on. */
  learnHost(fleet: string, member: string, hostKeys: readonly SshPublicKey[]): Promise<void>;
  /** Forgets host keys that were learned, not given. */
  forgetLearnedHost(fleet: string, member: string): Promise<void>;
}

/** Files of this host that a person named, beside those of the store. */
export interface LocalFiles {
  /** @throws FILE_NOT_FOUND, BAD_USAGE where it is larger */
  read(path: string, maxBytes: number): Promise<Buffer>;
  /** Written whole or not at all. */
  write(path: string, bytes: Buffer): Promise<void>;
  kind(path: string): Promise<'file' | 'directory' | 'missing'>;
  makeDirectory(path: string): Promise<void>;
}
