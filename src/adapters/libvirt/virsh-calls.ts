import { rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { CowherdError } from '../../core/errors.js';
import { confinementsOf } from '../../core/host/confinement.js';
import { makeScratch } from '../host/scratch.js';
import { runTool } from '../process.js';
import { storeError } from '../store/files/files.js';
import { isSystemUri } from './connection.js';
import { withFileFault } from './file-faults.js';
import { SessionPool } from './session/session-pool.js';
import { connectionError, faultOf, isTimeout, silentDomain, type VirshFault, virshError } from './session/virsh-errors.js';
import type { Reply } from './session/virsh-session.js';
import { domainWord } from './session/virsh-words.js';
import { assertConnected, secondsOccupied } from './virsh-reads.js';

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

/** libvirt itself waits 30 s for the domain before it reports this. */
const busyPausesMs = [200, 1_000, 3_000];
/** A monitor that did not respond for this long is not waited for again. */
const hungMonitorSeconds = 30;

/** Calls of virsh through kept-open sessions: queries, changes with retries, and what all of them need. */
export class VirshCalls {
  readonly uri: string;
  protected readonly options: VirshOptions;
  protected readonly pool: SessionPool;
  #env: Promise<Record<string, string | undefined>> | undefined;
  #scratch: Promise<string> | undefined;
  #capabilities: Promise<string> | undefined;

  constructor(options: VirshOptions) {
    this.uri = options.uri;
    this.options = options;
    this.pool = new SessionPool({
      ...options,
      environment: () => {
        this.#env ??= this.#prepareEnvironment();
        return this.#env;
      },
    });
  }

  protected async query(command: string, doing: string): Promise<string> {
    const reply = await this.call(command, this.pool.heldMs).catch((error: unknown) => {
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
  protected async mutate(
    command: string,
    doing: string,
    accepted: readonly VirshFault[] = [],
    { domain, moreMs = 0, beforeRepeat }: { domain?: string; moreMs?: number; beforeRepeat?: () => Promise<void> } = {},
  ): Promise<VirshFault | undefined> {
    for (let attempt = 0; ; attempt++) {
      const { error } = await this.call(command, this.pool.heldMs + moreMs).catch((cause: unknown) => {
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
    const { stdout } = await this.call(`domcontrol ${domainWord(name)}`);
    return secondsOccupied(stdout) >= hungMonitorSeconds;
  }

  /** Runs one command, for the network and guest agent adapters. */
  readonly run = (command: string): Promise<Reply> => this.call(command);

  /** Runs one command that reads the definition of a domain. */
  readonly readDefinition = (command: string): Promise<Reply> => this.call(command, this.pool.definitionMs);

  /** Runs one command without a retry, since the guest may already have done it. */
  readonly runOnce = (command: string, moreMs = 0): Promise<Reply> =>
    this.pool.run(async (session) => assertConnected(await session.run(command, moreMs)), 1);

  protected call(command: string, moreMs = 0): Promise<Reply> {
    return this.pool.run(async (session) => assertConnected(await session.run(command, moreMs)));
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

  protected async withFile<T>(name: string, content: string, work: (path: string) => Promise<T>): Promise<T> {
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

  async qemuUser(): Promise<{ uid: number; gid: number } | undefined> {
    if (!this.isSystem) return undefined;
    const label = /<model>dac<\/model>[\s\S]*?<baselabel[^>]*>\+(\d+):\+(\d+)</.exec(await this.#readCapabilities());
    return label === null ? undefined : { uid: Number(label[1]), gid: Number(label[2]) };
  }

  async confinements(): Promise<string[]> {
    return confinementsOf(await this.#readCapabilities());
  }

  /** Cached: they do not change while libvirtd runs, and some hosts take seconds to answer. */
  #readCapabilities(): Promise<string> {
    this.#capabilities ??= this.query('capabilities', 'report its capabilities');
    this.#capabilities.catch(() => {
      this.#capabilities = undefined;
    });
    return this.#capabilities;
  }

  async close(): Promise<void> {
    this.pool.close();
    const scratch = this.#scratch;
    this.#scratch = undefined;
    if (scratch !== undefined) await rm(await scratch, { recursive: true, force: true });
  }

  get isSystem(): boolean {
    return isSystemUri(this.uri);
  }
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
