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
import { assertAbsence, assertConnected, readEach } from './virsh-reads.js';
import { memoryMs, quote, type Reply } from './virsh-session.js';
import { domainWord } from './virsh-words.js';

export interface VirshOptions {
  uri: string;
  /** Between two looks at a domain in whose start the connection was lost. */
  lookAfterLossMs?: number;
  /** See {@link SessionPool}. */
  leastHeldMs?: number;
  /** How many virsh processes, each with one connection, are kept at most. */
  sessions: number;
  timeoutMs: number;
  /** Descriptors that every virsh inherits: a lock on them lasts until the last call that was under way is over. */
  inherit: () => number[];
  /** Changes whenever what is inherited does. */
  inheritance: () => number;
}

/** A domain that is being made is in both lists a moment later. */
const listingPausesMs = [50, 100, 300, 600];
/** libvirt itself has waited 30 s for the domain before it says so. */
const busyPausesMs = [200, 1_000, 3_000];
/** A monitor that has been waited for as long as this is not waited for again. */
const hungMonitorSeconds = 30;

const machineOf: Record<string, string> = { x86_64: 'pc', aarch64: 'virt' };

/** How a start is watched in whose midst the connection was lost: so often at least, and at most until libvirt knows what became of it. */
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
      // Made or renamed between the two answers. Again and again it is an answer that lacks something: taken for whole, a
      // member's domain would be missing, and its disk would go from under it.
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
    // Told by its name, also where it was asked for by its UUID.
    const [state = { state: 'other', reason: 'unknown' }] = states.values();
    return state;
  }

  async readDiskErrors(names: readonly string[]): Promise<Map<string, string>> {
    const errors = new Map<string, string>();
    await readEach(
      this.#pool,
      names,
      (name) => `domblkerror ${domainWord(name)}`,
      (name, { stdout }) => {
        const why = [...stdout.matchAll(/^(\S+): (no space|unspecified error)/gm)].map(([line]) => line);
        if (why.length > 0) errors.set(name, why.join(', '));
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
      // Of the definition, not of the running guest: what was redefined counts from its next start on.
      (name) => `metadata --config ${domainWord(name)} ${metadataNamespace}`,
      (name, reply) => {
        assertAbsence(reply, `read the metadata of ${name}`);
        const mark = reply.error === '' ? parseMemberMark(reply.stdout) : undefined;
        if (mark !== undefined) marks.set(name, mark);
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
      (name) => `dumpxml --inactive ${domainWord(name)}`,
      (name, reply) => {
        assertAbsence(reply, `read the XML of ${name}`);
        if (reply.error === '') documents.set(name, reply.stdout);
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
    // A daemon that ended within a start finds, when it is back, a QEMU that it had not finished: the domain is "already running" for a
    // while, paused and "starting up", and then the daemon ends it.
    for (let look = 1; look <= mostLooksAfterLoss; look++) {
      await setTimeout(this.#options.lookAfterLossMs ?? 500);
      const found = await this.stateOf(name);
      if (found.state === 'shutOff') await order();
      else if (!isStartingUp(found) && look >= looksAtLeast()) return;
    }
    if (!isStartingUp(await this.stateOf(name))) return;
    // Nothing of the guest has run yet: there is nothing in it to lose.
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
    // --tpm is of libvirt 8.9; before it a TPM's state went with its domain.
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

  /** Asked once: it does not change while libvirtd runs, and some hosts take seconds for the answer. */
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
   * Has a domain changed. Where another call holds it, or a signal interrupted libvirt, tries again some times: libvirt has done nothing
   * then.
   * @param accepted what counts as done
   * @param options.domain whose QEMU has to answer
   * @param options.moreMs how much longer than other calls it may take
   * @param options.beforeRepeat may throw where to wait for a busy domain is of no use; each attempt lasts as long as libvirt waits, 30 s
   * @returns the fault that was accepted, if there was one
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

  /** Whether a call has been waiting for the domain's QEMU for so long that another one would wait in vain. Asks libvirt alone. */
  async #isHung(name: string): Promise<boolean> {
    const { stdout } = await this.#run(`domcontrol ${domainWord(name)}`);
    const seconds = /^occupied \(([\d.]+)s\)/.exec(stdout)?.[1];
    return seconds !== undefined && Number(seconds) >= hungMonitorSeconds;
  }

  /** One command, for those that know more of virsh's: networks and guest agents. */
  readonly run = (command: string): Promise<Reply> => this.#run(command);

  /** The same, never repeated: what a guest was asked to do it may have done. */
  readonly runOnce = (command: string, moreMs = 0): Promise<Reply> =>
    this.#pool.run(async (session) => assertConnected(await session.run(command, moreMs)), 1);

  #run(command: string, moreMs = 0): Promise<Reply> {
    return this.#pool.run(async (session) => assertConnected(await session.run(command, moreMs)));
  }

  /**
   * virsh keeps a history of what is typed; ours must not push the person's own out of it. The history follows XDG_CACHE_HOME,
   * and so does the socket of a session daemon where XDG_RUNTIME_DIR is unset: that one is pinned.
   */
  async #prepareEnvironment(): Promise<Record<string, string | undefined>> {
    const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
    if (!this.isSystem) {
      // A session daemon starts with its first client and inherits its environment: that must not be ours.
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

/** A call that came to no answer says of what it was. */
function whileDoing(doing: string, error: unknown): unknown {
  if (!(error instanceof CowherdError) || !['CONNECTION_FAILED', 'TOOL_TIMEOUT'].includes(error.code)) return error;
  return new CowherdError(error.code, `Could not ${doing}: ${error.message}`, {
    details: error.details,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  });
}
