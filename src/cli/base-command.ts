import { Command, Flags, ux } from '@oclif/core';
import { CowherdError, type ErrorReport, exitCodeOf as exitCodes, reportOf } from '../core/errors.js';
import type { Target } from '../core/fleet/selection/targets.js';
import { jsonText } from '../core/quoting.js';
import { type Host, openHost } from '../host.js';
import type { WorkOptions } from '../services/fleet/access.js';
import { findTargets } from '../services/fleet/targets.js';
import { inTurn, type Share } from '../services/run/in-turn.js';
import { cancelOnSignals } from './cancellation.js';
import { readDefaults, virshDefault } from './defaults.js';
import { lockTimeoutFlag } from './flags/run.js';
import { hostError, hostFaults, interrupted, leftAtOnce, noDirectory } from './host-faults.js';
import { renderError, usageText } from './render/errors.js';
import { withSourcePositions } from './source-positions.js';
import { outputGone } from './streams.js';
import { page } from './terminal/layout.js';
import { noProgress, type Progress, showProgress } from './terminal/progress.js';
import { nameConnection, repeatFlags, withFlagsIn } from './terminal/repeated-flags.js';
import { forStream } from './terminal/style.js';

export interface HostFlags {
  connect?: string | undefined;
  store?: string | undefined;
  'lock-timeout'?: number | undefined;
}

type ConcurrencyFlags = { concurrency?: number | undefined; 'boot-concurrency'?: number | undefined };

/** The base of all commands: host flags, cancellation, progress, and error reports as text or JSON. */
export abstract class BaseCommand extends Command {
  /** Output is printed below it. */
  private progress: Progress = noProgress;

  static override enableJsonFlag = true;
  static override baseFlags = {
    connect: Flags.string({
      char: 'c',
      description:
        'libvirt connection URI [default: LIBVIRT_DEFAULT_URI, otherwise qemu:///system if you may use it, otherwise qemu:///session]',
      helpGroup: 'GLOBAL',
      helpValue: 'URI',
    }),
    store: Flags.directory({
      description: 'directory of the store [default: /var/lib/libvirt/images/cowherd; for qemu:///session: ~/.local/share/cowherd]',
      env: 'COWHERD_STORE',
      helpGroup: 'GLOBAL',
      helpValue: 'DIR',
    }),
    ...lockTimeoutFlag,
  };

  /**
   * Opens the host, runs the work with cancellation and progress, and always closes the host. SIGINT (Ctrl-C), SIGTERM and SIGHUP
   * (the terminal was closed) cancel it: current steps are finished, no new ones begin.
   */
  protected async onHost<T>(
    flags: HostFlags & ConcurrencyFlags,
    work: (host: Host, options: Required<Pick<WorkOptions, 'signal' | 'onProgress'>> & WorkOptions) => Promise<T>,
    { isWatch = false, isReader = false }: WorkKind = {},
  ): Promise<T> {
    const progress = this.jsonEnabled() ? noProgress : showProgress(process.stderr);
    this.progress = progress;
    const leave = (): never => {
      progress.stop();
      process.exit(exitCodes.INTERRUPTED);
    };
    const cancellation = cancelOnSignals({
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
    try {
      const { settings, ignored } = await readDefaults();
      for (const { path, reason } of ignored) this.logToStderr(`note: ${path} is ignored: ${reason}.`);
      const store = flags.store === process.env.COWHERD_STORE ? undefined : flags.store;
      repeatFlags({ commands: this.config.commandIDs, store, connect: flags.connect });
      const host = await openHost({
        connect: flags.connect ?? settings.connect?.value,
        store: flags.store ?? settings.store?.value,
        sessions: flags['boot-concurrency'],
        verb: this.id?.replaceAll(':', ' '),
        lockTimeoutMs: flags['lock-timeout'],
        signal: cancellation.signal,
        onLockWait: (text) => progress.listener({ kind: 'note', text }),
      });
      nameConnection(host.hypervisor.uri, virshDefault());
      try {
        return await work(host, {
          signal: isWatch ? AbortSignal.any([cancellation.signal, outputGone]) : cancellation.signal,
          onProgress: progress.listener,
          concurrency: flags.concurrency,
          bootConcurrency: flags['boot-concurrency'],
        });
      } finally {
        progress.stop();
        await host.close();
      }
    } finally {
      cancellation.release();
    }
  }

  /** oclif would read missing arguments from a pipe: in a shell's `while read` loop it would take the loop's input for members. */
  protected override parse: Command['parse'] = async (options, argv) => {
    for (const arg of Object.values(options?.args ?? {})) arg.ignoreStdin = true;
    return super.parse(options, argv);
  };

  /** The words before and after `--`; those after it, including flags, are for the guest. */
  protected splitAtHyphens(): { own: string[]; command: string[] | undefined } {
    const position = this.argv.indexOf('--');
    return position < 0
      ? { own: [...this.argv], command: undefined }
      : { own: this.argv.slice(0, position), command: this.argv.slice(position + 1) };
  }

  /** Fleets and members from the words after a command, or from a fleet file. */
  protected targets(host: Host, words: readonly string[], file?: string): Promise<Target[]> {
    return findTargets(host, words, file);
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

  /** All output passes through here, so that text from guests or other programs cannot control the terminal. */
  override log(message = ''): void {
    this.progress.settle();
    super.log(forStream(message, process.stdout));
  }

  /** Prints text wrapped to the width of the terminal. */
  protected tell(message: string): void {
    this.log(page(message));
  }

  override logToStderr(message = ''): void {
    this.progress.settle();
    super.logToStderr(forStream(message, process.stderr));
  }

  protected override logJson(document: unknown): void {
    ux.stdout(jsonText(withFlagsIn(document)));
  }

  /** Prints text unchanged. */
  protected logRaw(text: string): void {
    this.progress.settle();
    process.stdout.write(text);
  }

  /** Sets the exit code of the process, unless a higher one is set. */
  protected exitWith(code: number): void {
    process.exitCode = Math.max(Number(process.exitCode ?? 0), code);
  }

  /** oclif's own handling loses the exit code under --json and shows a stack for errors that the user can fix. */
  override async catch(error: Error & { oclif?: { exit?: number }; exitCode?: number; code?: string; syscall?: string }): Promise<void> {
    // Errors of the host, not of cowherd, such as a full /tmp.
    if (!(error instanceof CowherdError) && error.syscall === 'uv_cwd') return this.catch(noDirectory(error));
    if (!(error instanceof CowherdError) && hostFaults.has(error.code ?? '')) return this.catch(hostError(error));
    const isOurs = error instanceof CowherdError;
    const usage = !isOurs && (error.oclif?.exit !== undefined || error.constructor.name.endsWith('ParserError'));
    if (usage && error.oclif?.exit === 0) throw error;
    if (error.name === 'AbortError') return this.catch(interrupted());
    const report: ErrorReport = isOurs
      ? reportOf(error)
      : usage
        ? { code: 'BAD_USAGE', message: usageText(error.message), hint: `See "cowherd ${this.id?.replaceAll(':', ' ') ?? ''} --help".` }
        : { code: 'BUG', message: error.message };
    process.exitCode = isOurs ? error.exitCode : usage ? 2 : 1;
    this.report(report);
    if (report.code === 'BUG' && !this.jsonEnabled())
      this.logToStderr(
        `${withSourcePositions(error.stack ?? '')}\n→ This is a bug in cowherd ${this.config.version}. Please report it with the lines above.`,
      );
  }

  private report(report: ErrorReport): void {
    if (this.jsonEnabled()) {
      this.logJson({ error: report });
      return;
    }
    // Overwrite the ^C that the terminal shows.
    if (report.code === 'INTERRUPTED' && process.stderr.isTTY) process.stderr.write('\r');
    this.logToStderr(renderError(report));
  }
}

interface WorkKind {
  /** Runs until Ctrl-C, or until its output is closed. */
  isWatch?: boolean;
  /** Changes nothing: a signal ends it immediately. */
  isReader?: boolean;
}
