import { type Command, Flags } from '@oclif/core';
import { assertKeys, assertOptions, assertVerb, optionWords } from '../core/engine/declaration.js';
import { CowherdError, type ErrorReport, exitCodeOf as exitCodes, reportOf } from '../core/errors.js';
import type { Target } from '../core/fleet/selection/targets.js';
import type { FleetInput } from '../core/spec/spec.js';
import { type Host, type HostOptions, openHost } from '../host.js';
import { openEngine } from '../open-engine.js';
import type { Engine } from '../services/engine/engine.js';
import { thisHost } from '../services/engine/this-host.js';
import type { WorkOptions } from '../services/fleet/access.js';
import { inTurn, type Share } from '../services/run/in-turn.js';
import { type Cancellation, cancelOnSignals } from './cancellation.js';
import { readNamedFile, virshDefault } from './defaults.js';
import { lockTimeoutFlag } from './flags/run.js';
import { interrupted, leftAtOnce } from './host-faults.js';
import { OutputCommand } from './output-command.js';
import { findPlace, type Place, type PlaceFlags, readingOnce } from './place.js';
import { renderError } from './render/errors.js';
import { outputGone } from './streams.js';
import { page } from './terminal/layout.js';
import { noProgress, showProgress } from './terminal/progress.js';
import { nameConnection, repeatFlags } from './terminal/repeated-flags.js';

type RunFlags = PlaceFlags & {
  'lock-timeout'?: number | undefined;
  concurrency?: number | undefined;
  'boot-concurrency'?: number | undefined;
};

type Work<Opened, T> = (opened: Opened, options: Required<Pick<WorkOptions, 'signal' | 'onProgress'>> & WorkOptions) => Promise<T>;

/** The base of all commands: flags of the connection and the store, cancellation and progress. */
export abstract class BaseCommand extends OutputCommand {
  static override enableJsonFlag = true;
  static override baseFlags = {
    connect: Flags.string({
      char: 'c',
      description:
        'libvirt connection URI, or openstack://CLOUD [default: LIBVIRT_DEFAULT_URI, otherwise qemu:///system if you may use it, otherwise qemu:///session]',
      helpGroup: 'GLOBAL',
      helpValue: 'URI',
    }),
    store: Flags.directory({
      description:
        'directory of the store [default: /var/lib/libvirt/images/cowherd; for qemu:///session: ~/.local/share/cowherd; for clouds: openstack/NAME in it]',
      env: 'COWHERD_STORE',
      helpGroup: 'GLOBAL',
      helpValue: 'DIR',
    }),
    ...lockTimeoutFlag,
  };

  /** Files that the user named. */
  protected readonly files = { readFile: readingOnce(readNamedFile) };
  /** Options that the user gave, without defaults and variables. */
  private given: string[] = [];

  /** Runs the work on this host; see {@link onEngine}. Refused for other engines. */
  protected onHost<T>(flags: RunFlags, work: Work<Host, T>, kind?: WorkKind): Promise<T> {
    const { readFile } = this.files;
    const open = async (options: HostOptions): Promise<Host> => {
      const host = await openHost(options);
      nameConnection(host.hypervisor.uri, virshDefault());
      return { ...host, readFile };
    };
    return this.onOpened(flags, kind, open, work);
  }

  /**
   * Opens the engine of the connection, runs the work with cancellation and progress, and always closes the engine. What the engine
   * cannot do is refused before. SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal was closed) cancel the work: current steps are
   * finished, no new ones begin.
   */
  protected onEngine<T>(flags: RunFlags, work: Work<Engine, T>, kind?: WorkKind): Promise<T> {
    const { readFile } = this.files;
    const { concurrency } = flags;
    const open = async (options: HostOptions): Promise<Engine> => {
      const engine = await openEngine({ ...options, concurrency, readFile });
      // virsh knows nothing of other platforms.
      if (engine.about === thisHost) nameConnection(engine.uri, virshDefault());
      return engine;
    };
    return this.onOpened(flags, kind, open, work);
  }

  /** Fails with NOT_SUPPORTED before anything is opened, if the engine cannot do what was asked. */
  private async place(flags: RunFlags, fleets: WorkKind['fleets'] = []): Promise<Place> {
    const place = await findPlace(flags, this.files);
    for (const { path, reason } of place.ignored) this.logToStderr(`note: ${path} is ignored: ${reason}.`);
    repeatFlags({ commands: this.config.commandIDs, ...place.repeated });
    const verb = this.verb();
    assertVerb(place.engine, verb);
    assertOptions(place.engine, verb, this.given);
    for (const fleet of fleets) assertKeys(place.engine, fleet);
    return place;
  }

  private async onOpened<Opened extends { close(): Promise<void> }, T>(
    flags: RunFlags,
    { isWatch = false, isReader = false, fleets }: WorkKind = {},
    open: (options: HostOptions) => Promise<Opened>,
    work: Work<Opened, T>,
  ): Promise<T> {
    const progress = this.jsonEnabled() ? noProgress : showProgress(process.stderr);
    this.progress = progress;
    const cancellation = this.cancellation(isWatch, isReader);
    try {
      const { connect, store } = await this.place(flags, fleets);
      const opened = await open({
        connect,
        store,
        sessions: flags['boot-concurrency'],
        verb: this.verb(),
        lockTimeoutMs: flags['lock-timeout'],
        signal: cancellation.signal,
        onLockWait: (text) => progress.listener({ kind: 'note', text }),
      });
      try {
        return await work(opened, {
          signal: isWatch ? AbortSignal.any([cancellation.signal, outputGone]) : cancellation.signal,
          onProgress: progress.listener,
          concurrency: flags.concurrency,
          bootConcurrency: flags['boot-concurrency'],
        });
      } finally {
        progress.stop();
        await opened.close();
      }
    } finally {
      cancellation.release();
    }
  }

  private cancellation(isWatch: boolean, isReader: boolean): Cancellation {
    const { progress } = this;
    const leave = (): never => {
      progress.stop();
      process.exit(exitCodes.INTERRUPTED);
    };
    return cancelOnSignals({
      onFirst: () => {
        if (isReader) {
          this.report(reportOf(interrupted()));
          leave();
        }
        if (!isWatch) progress.listener({ kind: 'note', text: 'Interrupted: finishing current steps. Press Ctrl-C again to quit now.' });
      },
      onSecond: () => {
        // The journal records the remaining work.
        if (!isWatch && !this.jsonEnabled()) this.logToStderr(page(leftAtOnce, process.stderr));
        leave();
      },
    });
  }

  /** The command as it is typed, such as `base add`. */
  private verb(): string {
    return (this.id ?? '').replaceAll(':', ' ');
  }

  /** oclif would read missing arguments from a pipe: in a shell's `while read` loop it would take the loop's input for members. */
  protected override parse: Command['parse'] = async (options, argv) => {
    for (const arg of Object.values(options?.args ?? {})) arg.ignoreStdin = true;
    const parsed = await super.parse(options, argv);
    const values: Record<string, unknown> = parsed.flags;
    this.given = parsed.raw.flatMap((token) => (token.type === 'flag' ? optionWords(token.flag, values[token.flag]) : []));
    return parsed;
  };

  /** The words before and after `--`; those after it, including flags, are for the guest. */
  protected splitAtHyphens(): { own: string[]; command: string[] | undefined } {
    const position = this.argv.indexOf('--');
    return position < 0
      ? { own: [...this.argv], command: undefined }
      : { own: this.argv.slice(0, position), command: this.argv.slice(position + 1) };
  }

  /**
   * Runs a command for each fleet, one after the other, and shows each result. The next fleet begins while the previous one waits for
   * its guests. A fleet that fails does not stop the others.
   * @returns the result of the single fleet, or `{fleets: [...]}`
   */
  protected async eachFleet<T extends object>(
    targets: readonly Target[],
    verb: (target: Target, share: Share) => Promise<T>,
    show: (result: T) => string | undefined,
    exitCodeOf: (result: T) => number = () => 0,
  ): Promise<T | { fleets: Array<T | { fleet: string; error: ErrorReport }> }> {
    const [only] = targets;
    if (targets.length === 1 && only !== undefined) {
      const result = await verb(only, (work) => work);
      this.logIfAny(show(result));
      this.exitWith(exitCodeOf(result));
      return result;
    }
    const results: Array<T | { fleet: string; error: ErrorReport }> = [];
    // Without libvirt every fleet would fail in the same way: report it once.
    const isOfAll = ({ code }: CowherdError): boolean => results.length === 0 && ['CONNECTION_FAILED', 'TOOL_MISSING'].includes(code);
    const isTold = (error: unknown): boolean => error instanceof CowherdError && error.code !== 'INTERRUPTED' && !isOfAll(error);
    await inTurn(
      targets,
      verb,
      ({ fleet }, result) => {
        if (result.status === 'rejected' && !isTold(result.reason)) throw result.reason;
        const text = result.status === 'fulfilled' ? show(result.value) : '';
        if (results.length > 0 && text !== undefined) this.log('');
        if (result.status === 'fulfilled') {
          results.push(result.value);
          this.logIfAny(text);
          this.exitWith(exitCodeOf(result.value));
        } else {
          const error = reportOf(result.reason);
          results.push({ fleet, error });
          this.logToStderr(`${fleet}: ${renderError(error)}`);
          this.exitWith(4);
        }
      },
      (result) => (result.status === 'fulfilled' ? exitCodeOf(result.value) === 130 : !isTold(result.reason)),
    );
    return { fleets: results };
  }

  private logIfAny(text: string | undefined): void {
    if (text !== undefined) this.log(text);
  }
}

interface WorkKind {
  /** Runs until Ctrl-C, or until its output is closed. */
  isWatch?: boolean;
  /** Changes nothing: a signal ends it immediately. */
  isReader?: boolean;
  /** To create, as in a fleet file: keys that the engine cannot do are refused. */
  fleets?: ReadonlyArray<Partial<FleetInput> & { name: string }>;
}
