import { Command, ux } from '@oclif/core';
import { CowherdError, type ErrorReport, reportOf } from '../core/errors.js';
import { jsonText } from '../core/quoting.js';
import { hostError, hostFaults, interrupted, noDirectory } from './host-faults.js';
import { renderError, usageText } from './render/errors.js';
import { withSourcePositions } from './source-positions.js';
import { page } from './terminal/layout.js';
import { noProgress, type Progress } from './terminal/progress.js';
import { withFlagsIn } from './terminal/repeated-flags.js';
import { forStream } from './terminal/style.js';

/** The output of all commands, and one exit path for text, errors and --json. */
export abstract class OutputCommand extends Command {
  /** Output is printed below it. */
  protected progress: Progress = noProgress;

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

  protected report(report: ErrorReport): void {
    if (this.jsonEnabled()) {
      this.logJson({ error: report });
      return;
    }
    // Overwrite the ^C that the terminal shows.
    if (report.code === 'INTERRUPTED' && process.stderr.isTTY) process.stderr.write('\r');
    this.logToStderr(renderError(report));
  }
}
