import type { Readable } from 'node:stream';
import type { HostEntry, Lease, NetworkDefinition, NetworkSide } from '../core/domain/network.js';
import type { FleetSecrets, Seed } from '../core/guest/seed.js';
import type { GuestText } from '../core/guest/text.js';
import type { Ipv4Address, SshPublicKey } from '../core/guest/values.js';

/** Ports for guests: network, agent, ssh and seeds. */

export interface NetworkState {
  exists: boolean;
  active: boolean;
  persistent: boolean;
}

/** libvirt's networks. */
export interface Networks {
  state(name: string): Promise<NetworkState>;
  /** The current definition: the live one while the network is active. */
  definition(name: string): Promise<NetworkDefinition>;
  /** The live and the persistent definition, as far as they exist. */
  sides(name: string): Promise<Map<NetworkSide, NetworkDefinition>>;
  leases(name: string): Promise<Lease[]>;
  /** Adds a static DHCP entry to one definition of a network. Not an error if it exists.
   * @throws AddressTaken if another entry has its address, name or MAC
   */
  addHost(name: string, side: NetworkSide, host: HostEntry): Promise<void>;
  /** Removes an entry from one definition. Not an error if it does not exist. */
  removeHost(name: string, side: NetworkSide, host: HostEntry): Promise<void>;
  /** Current IPv4 addresses of this host's network interfaces. */
  hostAddresses(): ReadonlySet<string>;
  /** Releases leases early, as far as this user and this host can. */
  releaseLeases(bridge: string, leases: readonly Lease[]): Promise<void>;
  start(name: string): Promise<void>;
}

export interface GuestAgent {
  /**
   * Sends one command of qemu-ga's protocol.
   * @returns the untrusted value of `return`; core/guest/agent.ts parses it
   * @throws GUEST_UNREACHABLE if no agent answers in time, GUEST_REFUSED if it returns an error
   */
  command(domain: string, command: object, timeoutSeconds: number): Promise<unknown>;
}

/** Address, user and keys for an ssh login to a member. */
export interface SshEndpoint {
  member: string;
  host: Ipv4Address;
  port: number;
  user: string;
  /** File of the private key; undefined if the fleet has none and the user's own keys are tried. */
  identityFile: string | undefined;
  knownHostsFile: string;
  /** Whether the host key is known in advance; otherwise the first one is trusted until the member's disk is replaced. */
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
  /** Bytes to keep of each stream; the rest is dropped. */
  keepBytes: number;
  signal?: AbortSignal | undefined;
  /** Standard input of the program. */
  input?: Uint8Array | undefined;
  /** Called with output within the limit, as it arrives. */
  onOutput?: OutputListener | undefined;
}

/** Receives a program's output in pieces; a piece may end in the middle of a line. */
export type OutputListener = (stream: 'stdout' | 'stderr', text: GuestText) => void;

/** ssh and scp. */
export interface RemoteShell {
  /** Whether an ssh server answers at that address. */
  answers(host: Ipv4Address, port: number, timeoutMs: number): Promise<boolean>;
  /** Runs a program without a terminal and without prompts; arguments are passed unchanged. @throws GUEST_UNREACHABLE if ssh itself fails
   */
  run(endpoint: SshEndpoint, argv: readonly string[], options: RemoteRunOptions): Promise<RemoteResult>;
  /** Runs ssh on the terminal. @param argv empty for a login shell @returns its exit code */
  interactive(endpoint: SshEndpoint, argv: readonly string[]): Promise<number>;
  copy(endpoint: SshEndpoint, options: CopyOptions): Promise<void>;
  /** ssh_config lines for an endpoint, without the Host line. */
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

/** Instance-id and digest of a placed seed. */
export interface PlacedSeed {
  instanceId: string;
  digest: string;
}

/** The cloud-init seeds of a fleet, their secrets and the ssh files. */
export interface SeedStore {
  /** The tool that writes the images. @throws TOOL_MISSING */
  tool(): Promise<string>;
  observe(fleet: string): Promise<Map<string, PlacedSeed>>;
  /** Bytes on disk of all seeds of a fleet. */
  allocatedBytes(fleet: string): Promise<number>;
  /** Writes seeds next to their final paths. */
  stage(fleet: string, seeds: ReadonlyMap<string, Seed>): Promise<void>;
  /** Replaces the seed with the staged one by a rename. */
  place(fleet: string, member: string): Promise<void>;
  /** @throws STATE_DAMAGED */
  readSecrets(fleet: string): Promise<FleetSecrets | undefined>;
  writeSecrets(fleet: string, secrets: FleetSecrets): Promise<void>;
  /** Writes the client's private key, if any, and the host keys of members by name. */
  writeSshFiles(fleet: string, privateKey: string | undefined, hostKeys: ReadonlyMap<string, string>): Promise<void>;
  /** Reads the ssh files of all members at once. @returns the files of a member by name */
  sshFiles(fleet: string): Promise<(member: string) => SshFiles>;
  /** Records the host keys that a member's agent reported; from then on only these are accepted. */
  learnHost(fleet: string, member: string, hostKeys: readonly SshPublicKey[]): Promise<void>;
  /** Removes learned host keys, but not those from a seed. */
  forgetLearnedHost(fleet: string, member: string): Promise<void>;
}

/** A regular file that the user named, to be read as a whole. */
export interface NamedFile {
  /** Absolute. */
  path: string;
  bytes: number;
  /** Bytes on disk: fewer if it has holes. */
  allocatedBytes: number;
  /** @returns fewer bytes at the end of the file */
  read(offset: number, length: number): Promise<Buffer>;
  /** Its content, from the beginning. */
  open(): Readable;
  /** @param doing past participle, for the message @throws BASE_REFUSED if it has changed since it was found */
  assertUnchanged(doing: string): Promise<void>;
}

/** Image files that the user named, for engines that upload them. */
export interface ImageFiles {
  /** @throws FILE_NOT_FOUND, BASE_REFUSED if it is empty or not a regular file */
  image(path: string): Promise<NamedFile>;
}

/** Files of this host that the user named, outside the store. */
export interface LocalFiles {
  /** @throws FILE_NOT_FOUND, BAD_USAGE if it is larger */
  read(path: string, maxBytes: number): Promise<Buffer>;
  /** Writes atomically. */
  write(path: string, bytes: Buffer): Promise<void>;
  kind(path: string): Promise<'file' | 'directory' | 'missing'>;
  makeDirectory(path: string): Promise<void>;
}
