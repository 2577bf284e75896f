import { rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { XMLParser } from 'fast-xml-parser';
import { metadataNamespace, parseMemberMark } from '../../core/domain/domain-xml.js';
import type { Platform } from '../../core/domain/template.js';
import { CowherdError } from '../../core/errors.js';
import { type DomainState, isStartingUp, type MemberMark } from '../../core/fleet/observation.js';
import type { DomainDefinition, Hypervisor } from '../../ports/hypervisor.js';
import { makeScratch } from '../host/scratch.js';
import { runAttached, runTool } from '../process.js';
import { storeError } from '../store/files.js';
import { isSystemUri } from './connection.js';
import { parseCpuOffers } from './cpu-offers.js';
import { parseDomainStates, parseIdentities } from './domain-states.js';
import { withFileFault } from './file-faults.js';
import { SessionPool } from './session-pool.js';
import { connectionError, faultOf, isTimeout, silentDomain, stuckStart, type VirshFault, virshError } from './virsh-errors.js';
import { assertAbsence, assertConnected, occupiedSeconds, readEach } from './virsh-reads.js';
import { memoryMs, quote, type Reply } from './virsh-session.js';
import { domainWord } from './virsh-words.js';

export interface VirshOptions {
  uri: string;
  /** Polling interval for a domain whose start lost the connection, in milliseconds. */
  lookAfterLossMs?: number;
  /** See {@link SessionPool}. */
  leastHeldMs?: number;
  /** Largest number of virsh processes to keep, each with one connection. */
  sessions: number;
  timeoutMs: number;
  /** Descriptors that every virsh inherits: a lock on them lasts until the last running call has ended. */
  inherit: () => number[];
  /** Changes whenever the inherited descriptors change. */
  inheritance: () => number;
}

/** A domain that is being created is in both lists a moment later. */
const listingPausesMs = [50, 100, 300, 600];
/** libvirt itself waits 30 s for the domain before it reports this. */
const busyPausesMs = [200, 1_000, 3_000];
/** A monitor that did not respond for this long is not waited for again. */
const hungMonitorSeconds = 30;

const machineOf: Record<string, string> = { x86_64: 'pc', aarch64: 'virt' };

/** How to poll a start that lost its connection: at least this often, and until libvirt reports its result. */
const looksAfterLoss = 6;
const mostLooksAfterLoss = 60;

export class Virsh implements Hypervisor {
  readonly uri: string;
  readonly #options: VirshOptions;
  readonly #pool: SessionPool;
  #env: Promise<Record<string, string | undefined>> | undefined;
  #scratch: Promise<string> | undefined;
  #qemuUser: Promise<{ uid: number; gid: number } | undefined> | undefined;

  constructor(options: VirshOptions) {
    this.uri = options.uri;
    this.#options = options;
    this.#pool = new SessionPool({
      ...options,
      environment: () => {
        this.#env ??= this.#prepareEnvironment();
        return this.#env;
      },
    });
  }

  get isSystem(): boolean {
    return isSystemUri(this.uri);
  }

  async listDomains(): Promise<DomainState[]> {
    for (let attempt = 0; ; attempt++) {
      const [identities, states] = await Promise.all([
        this.#query('list --all --name --uuid', 'list domains'),
        this.#query('domstats --state --nowait', 'list the states of domains'),
      ]);
      const stateOf = parseDomainStates(states);
      const domains = parseIdentities(identities);
      const listed = new Set(domains.map(({ name }) => name));
      const unlisted = [...stateOf.keys()].find((name) => !listed.has(name));
      // A domain was created or renamed between the two answers. If this repeats, the list is incomplete: if it were accepted, a
      // member's domain would seem missing, and its disk would be replaced while in use.
      if (unlisted === undefined)
        return domains.map((domain) => ({ ...domain, ...(stateOf.get(domain.name) ?? { state: 'other' as const, reason: 'unknown' }) }));
      const pauseMs = listingPausesMs[attempt];
      if (pauseMs !== undefined) {
        await setTimeout(pauseMs);
        continue;
      }
      throw new CowherdError('TOOL_FAILED', `libvirt could not list domains: it reports the state of ${unlisted}, but does not list it`, {
        hint: 'Are domains being created or renamed right now? Otherwise try "virsh list --all", and restart libvirtd.',
      });
    }
  }

  async stateOf(name: string): Promise<Pick<DomainState, 'state' | 'reason'>> {
    const states = parseDomainStates(await this.#query(`domstats --state --nowait ${domainWord(name)}`, `report the state of ${name}`));
    // Reported by name, even if queried by UUID.
    const [state = { state: 'other', reason: 'unknown' }] = states.values();
    return state;
  }

  async readDiskErrors(names: readonly string[]): Promise<Map<string, string>> {
    const errors = new Map<string, string>();
    await readEach(
      this.#pool,
      names,
      {
        command: (name) => `domblkerror ${domainWord(name)}`,
        doing: 'read the disk errors of',
        take: (name, { stdout }) => {
          const why = [...stdout.matchAll(/^(\S+): (no space|unspecified error)/gm)].map(([line]) => line);
          if (why.length > 0) errors.set(name, why.join(', '));
        },
      },
      new Map(),
    );
    return errors;
  }

  async readMarks(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, MemberMark>> {
    const marks = new Map<string, MemberMark>();
    await readEach(
      this.#pool,
      names,
      {
        // From the definition, not the running guest: a new definition applies at the next start.
        command: (name) => `metadata --config ${domainWord(name)} ${metadataNamespace}`,
        doing: 'read the metadata of',
        take: (name, reply) => {
          assertAbsence(reply, `read the metadata of ${name}`);
          const mark = reply.error === '' ? parseMemberMark(reply.stdout) : undefined;
          if (mark !== undefined) marks.set(name, mark);
        },
      },
      failed,
    );
    return marks;
  }

  async readXml(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, string>> {
    const documents = new Map<string, string>();
    await readEach(
      this.#pool,
      names,
      {
        command: (name) => `dumpxml --inactive ${domainWord(name)}`,
        doing: 'read the XML of',
        mayWait: true,
        take: (name, reply) => {
          assertAbsence(reply, `read the XML of ${name}`);
          if (reply.error === '') documents.set(name, reply.stdout);
        },
      },
      failed,
    );
    return documents;
  }

  async define({ name, xml }: DomainDefinition, { validate = false } = {}): Promise<void> {
    await this.#withFile(name, xml, async (path) => {
      await this.#mutate(`define ${validate ? '--validate ' : ''}${quote(path)}`, `define ${name}`);
    });
  }

  async createTransient({ name, xml }: DomainDefinition): Promise<void> {
    await this.#withFile(name, xml, async (path) => {
      await this.#mutate(`create ${quote(path)}`, `create ${name}`);
    });
  }

  async start(name: string, savedBytes = 0): Promise<void> {
    const order = (): Promise<VirshFault | undefined> =>
      this.#mutate(`start ${domainWord(name)}`, `start ${name}`, ['already running'], { domain: name, moreMs: memoryMs(savedBytes) });
    const losses = this.#pool.losses;
    const looksAtLeast = (): number => (this.#pool.losses > losses ? looksAfterLoss : 1);
    if ((await order()) === undefined && this.#pool.losses === losses) return;
    // A daemon that ended during a start finds an unfinished QEMU when it is back: the domain is "already running" for a
    // while, paused and "starting up", and then the daemon kills it.
    for (let look = 1; look <= mostLooksAfterLoss; look++) {
      await setTimeout(this.#options.lookAfterLossMs ?? 500);
      const found = await this.stateOf(name);
      if (found.state === 'shutOff') await order();
      else if (!isStartingUp(found) && look >= looksAtLeast()) return;
    }
    if (!isStartingUp(await this.stateOf(name))) return;
    // The guest has not run yet, so nothing is lost.
    await this.destroy(name);
    await order();
  }

  async startPaused(name: string): Promise<void> {
    await this.#mutate(`start ${domainWord(name)} --paused`, `start ${name}`, ['already running'], { domain: name });
  }

  async resume(name: string): Promise<void> {
    await this.#mutate(`resume ${domainWord(name)}`, `resume ${name}`, ['already running'], { domain: name });
  }

  async destroy(name: string): Promise<void> {
    await this.#mutate(`destroy ${domainWord(name)}`, `stop ${name}`, ['domain not found', 'not running'], {
      domain: name,
      beforeRepeat: async () => {
        if (isStartingUp(await this.stateOf(name))) throw stuckStart(name, this.isSystem);
      },
    });
  }

  async shutdown(name: string): Promise<void> {
    await this.#mutate(`shutdown ${domainWord(name)}`, `shut down ${name}`, ['not running'], { domain: name });
  }

  async undefine(name: string): Promise<void> {
    const flags = '--managed-save --snapshots-metadata --checkpoints-metadata --nvram';
    const order = (words: string, ...accepted: VirshFault[]): Promise<VirshFault | undefined> =>
      this.#mutate(words, `undefine ${name}`, ['domain not found', ...accepted]);
    // --tpm exists since libvirt 8.9; before, undefine always removed the TPM state.
    const fault = await order(`undefine ${domainWord(name)} ${flags} --tpm`, 'unknown option');
    if (fault === 'unknown option') await order(`undefine ${domainWord(name)} ${flags}`);
  }

  attachConsole(name: string): Promise<number> {
    return runAttached('virsh', ['-c', this.uri, 'console', name]);
  }

  async platform(virtType: 'kvm' | 'qemu'): Promise<Platform> {
    const xml = await this.#query(`domcapabilities --virttype ${virtType}`, `run ${virtType} guests`);
    const capabilities = (new XMLParser({ parseTagValue: false }).parse(xml) as { domainCapabilities?: Record<string, unknown> })
      .domainCapabilities;
    const arch = String(capabilities?.arch ?? 'x86_64');
    return {
      virtType,
      arch,
      machine: machineOf[arch] ?? String(capabilities?.machine ?? ''),
      emulator: String(capabilities?.path ?? ''),
      hasUefi: /<enum name='firmware'>[\s\S]*?<value>efi<\/value>[\s\S]*?<\/enum>/.test(xml.split('<loader', 1)[0] ?? ''),
      // libvirt before 8.0 does not say.
      cpus: parseCpuOffers(xml),
      hasTpm: !xml.includes('<tpm') || /<tpm supported='yes'>[\s\S]*?<value>emulator<\/value>[\s\S]*?<\/tpm>/.test(xml),
    };
  }

  async forgetSavedState(name: string): Promise<void> {
    await this.#mutate(`managedsave-remove ${domainWord(name)}`, `remove the saved state of ${name}`, ['domain not found']);
  }

  async snapshotsOf(name: string): Promise<{ snapshots: string[]; checkpoints: string[] }> {
    const [snapshots, checkpoints] = await Promise.all(
      ['snapshot', 'checkpoint'].map((kind) => this.#query(`${kind}-list ${domainWord(name)} --name`, `list the ${kind}s of ${name}`)),
    );
    return { snapshots: linesOf(snapshots ?? ''), checkpoints: linesOf(checkpoints ?? '') };
  }

  async listSnapshotted(): Promise<Set<string>> {
    const lists = ['--with-snapshot', '--with-checkpoint'].map((filter) =>
      this.#query(`list --all --name ${filter}`, 'list domains with snapshots'),
    );
    return new Set((await Promise.all(lists)).flatMap(linesOf));
  }

  async forgetSnapshots(name: string): Promise<void> {
    const { snapshots, checkpoints } = await this.snapshotsOf(name);
    const forget = (kind: string, word: string): Promise<unknown> =>
      this.#mutate(`${kind}-delete ${domainWord(name)} --${kind}name ${quote(word)} --metadata`, `delete the ${kind} ${word} of ${name}`);
    for (const word of snapshots) await forget('snapshot', word);
    for (const word of checkpoints) await forget('checkpoint', word);
  }

  async saveManaged(name: string, memoryBytes: number): Promise<void> {
    await this.#mutate(`managedsave ${domainWord(name)} --running`, `save the memory of ${name}`, [], {
      domain: name,
      moreMs: memoryMs(memoryBytes),
    });
  }

  async restorePaused(name: string, file: string, memoryBytes: number): Promise<void> {
    await this.#mutate(`restore ${quote(file)} --paused`, `restore ${name}`, [], { domain: name, moreMs: memoryMs(memoryBytes) });
  }

  async growDisk(name: string, path: string, virtualBytes: number): Promise<void> {
    await this.#mutate(`blockresize ${domainWord(name)} ${quote(path)} ${virtualBytes}B`, `enlarge the disk of ${name}`, [], {
      domain: name,
    });
  }

  async setLink(name: string, mac: string, isUp: boolean): Promise<void> {
    await this.#mutate(`domif-setlink ${domainWord(name)} ${quote(mac)} ${isUp ? 'up' : 'down'}`, `set the link state of ${name}`, [], {
      domain: name,
    });
  }

  async listSaved(): Promise<Set<string>> {
    const names = await this.#query('list --all --with-managed-save --name', 'list domains with saved memory');
    return new Set(linesOf(names));
  }

  async versions(): Promise<{ libvirt: string; hypervisor: string }> {
    const said = await this.#query('version', 'report its version');
    return {
      libvirt: /^Using library: libvirt (\S+)/m.exec(said)?.[1] ?? 'unknown',
      hypervisor: /^Running hypervisor: (.+)$/m.exec(said)?.[1] ?? 'unknown',
    };
  }

  /** Cached: it does not change while libvirtd runs, and some hosts take seconds to answer. */
  qemuUser(): Promise<{ uid: number; gid: number } | undefined> {
    this.#qemuUser ??= this.#readQemuUser();
    this.#qemuUser.catch(() => {
      this.#qemuUser = undefined;
    });
    return this.#qemuUser;
  }

  async #readQemuUser(): Promise<{ uid: number; gid: number } | undefined> {
    if (!this.isSystem) return undefined;
    const xml = await this.#query('capabilities', 'report its capabilities');
    const label = /<model>dac<\/model>[\s\S]*?<baselabel[^>]*>\+(\d+):\+(\d+)</.exec(xml);
    return label === null ? undefined : { uid: Number(label[1]), gid: Number(label[2]) };
  }

  async close(): Promise<void> {
    this.#pool.close();
    const scratch = this.#scratch;
    this.#scratch = undefined;
    if (scratch !== undefined) await rm(await scratch, { recursive: true, force: true });
  }

  async #query(command: string, doing: string): Promise<string> {
    const reply = await this.#run(command, this.#pool.heldMs).catch((error: unknown) => {
      throw whileDoing(doing, error);
    });
    if (reply.error !== '') throw virshError(doing, reply.error);
    return reply.stdout;
  }

  /**
   * Changes a domain. If another call holds it, or a signal interrupted libvirt, retries a few times: libvirt has changed nothing
   * then.
   * @param accepted faults that count as success
   * @param options.domain the domain whose QEMU must respond
   * @param options.moreMs additional time for this call
   * @param options.beforeRepeat may throw if waiting for a busy domain is useless; each attempt lasts as long as libvirt waits, 30 s
   * @returns the accepted fault, if any
   */
  async #mutate(
    command: string,
    doing: string,
    accepted: readonly VirshFault[] = [],
    { domain, moreMs = 0, beforeRepeat }: { domain?: string; moreMs?: number; beforeRepeat?: () => Promise<void> } = {},
  ): Promise<VirshFault | undefined> {
    for (let attempt = 0; ; attempt++) {
      const { error } = await this.#run(command, this.#pool.heldMs + moreMs).catch((cause: unknown) => {
        throw domain !== undefined && isTimeout(cause) ? silentDomain(domain, doing, cause) : whileDoing(doing, cause);
      });
      if (error === '') return undefined;
      const fault = faultOf(error);
      if (accepted.includes(fault)) return fault;
      const pauseMs = busyPausesMs[attempt];
      if (fault === 'interrupted' && pauseMs !== undefined) {
        await setTimeout(pauseMs);
        continue;
      }
      if (fault !== 'busy') throw await withFileFault(virshError(doing, error), doing, error, () => this.qemuUser());
      await beforeRepeat?.();
      if (pauseMs === undefined || (domain !== undefined && (await this.#isHung(domain)))) {
        const busy = virshError(doing, error);
        throw domain === undefined ? busy : silentDomain(domain, doing, busy);
      }
      await setTimeout(pauseMs);
    }
  }

  /** Whether a call has waited for the domain's QEMU so long that another call would be useless. Does not involve QEMU. */
  async #isHung(name: string): Promise<boolean> {
    const { stdout } = await this.#run(`domcontrol ${domainWord(name)}`);
    return occupiedSeconds(stdout) >= hungMonitorSeconds;
  }

  /** Runs one command, for the network and guest agent adapters. */
  readonly run = (command: string): Promise<Reply> => this.#run(command);

  /** The same without a retry, since the guest may already have done it. */
  readonly runOnce = (command: string, moreMs = 0): Promise<Reply> =>
    this.#pool.run(async (session) => assertConnected(await session.run(command, moreMs)), 1);

  #run(command: string, moreMs = 0): Promise<Reply> {
    return this.#pool.run(async (session) => assertConnected(await session.run(command, moreMs)));
  }

  /**
   * virsh keeps a command history, and ours must not displace the user's own. The history follows XDG_CACHE_HOME,
   * and so does the socket of a session daemon if XDG_RUNTIME_DIR is unset, so XDG_RUNTIME_DIR is set here.
   */
  async #prepareEnvironment(): Promise<Record<string, string | undefined>> {
    const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
    if (!this.isSystem) {
      // A session daemon starts with its first client and inherits its environment, which must not be the modified one.
      const reply = await runTool('virsh', ['-q', '-c', this.uri, 'uri'], { timeoutMs: 30_000, acceptedExitCodes: [0, 1] });
      if (reply.exitCode !== 0) throw connectionError(this.uri, reply.stderr);
    }
    return { XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR || cache, XDG_CACHE_HOME: await this.#scratchDirectory() };
  }

  #scratchDirectory(): Promise<string> {
    this.#scratch ??= makeScratch();
    return this.#scratch;
  }

  async #withFile<T>(name: string, content: string, work: (path: string) => Promise<T>): Promise<T> {
    const path = join(await this.#scratchDirectory(), `${name}.xml`);
    try {
      await writeFile(path, content, { mode: 0o600 }).catch((cause: unknown) => {
        throw storeError(`write ${path}`, cause);
      });
      return await work(path);
    } finally {
      await rm(path, { force: true });
    }
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** Adds what was attempted to an error of a call without an answer. */
function whileDoing(doing: string, error: unknown): unknown {
  if (!(error instanceof CowherdError) || !['CONNECTION_FAILED', 'TOOL_TIMEOUT'].includes(error.code)) return error;
  return new CowherdError(error.code, `Could not ${doing}: ${error.message}`, {
    details: error.details,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  });
}
