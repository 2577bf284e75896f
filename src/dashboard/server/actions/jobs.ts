import { randomUUID } from 'node:crypto';
import { reportOf } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { ProgressEvent } from '../../../core/progress.js';
import type { Host } from '../../../host.js';
import type { Clock } from '../../../ports/machine.js';
import type { JobView, Request } from '../../protocol.js';
import { Refused } from '../refusal.js';
import { perform } from './perform.js';

/** How many to keep. */
const most = { running: 8, ended: 20, failures: 200, notes: 50 };

/** Opens a host of its own for a job, so that its locks and journals are those of one command. */
export type OpenForJob = (options: { verb: string; signal: AbortSignal; onLockWait: (text: string) => void }) => Promise<Host>;

interface Job {
  view: JobView;
  cancel: AbortController;
  done: Promise<void>;
}

/** Actions that pages have started. They run as the commands do. */
export class Jobs {
  readonly #open: OpenForJob;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #jobs = new Map<string, Job>();
  readonly #changed = new Set<string>();
  /** Called when a job has changed. */
  onChange: () => void = () => undefined;

  constructor(open: OpenForJob, clock: Pick<Clock, 'now'>) {
    this.#open = open;
    this.#clock = clock;
  }

  get running(): number {
    return [...this.#jobs.values()].filter(({ view }) => view.state === 'running').length;
  }

  list(): JobView[] {
    return [...this.#jobs.values()].map(({ view }) => view);
  }

  takeChanged(): JobView[] {
    const changed = [...this.#changed].flatMap((id) => this.#jobs.get(id)?.view ?? []);
    this.#changed.clear();
    return changed;
  }

  /** @throws Refused if too many are running */
  start(request: Request): JobView {
    if (this.running >= most.running)
      throw new Refused(429, 'TOO_MANY_JOBS', `${most.running} actions are running`, 'Wait until one of them has ended.');
    const view: JobView = {
      id: randomUUID(),
      request,
      startedAt: this.#clock.now().toISOString(),
      endedAt: null,
      state: 'running',
      progress: null,
      counts: {},
      failures: [],
      error: null,
      notes: [],
    };
    const cancel = new AbortController();
    const job: Job = { view, cancel, done: Promise.resolve() };
    this.#jobs.set(view.id, job);
    job.done = this.#run(job);
    this.#notice(job, {});
    return job.view;
  }

  /** Current steps are finished, as after Ctrl-C. @returns whether there is such a job */
  cancel(id: string): boolean {
    const job = this.#jobs.get(id);
    job?.cancel.abort();
    return job !== undefined;
  }

  /** Cancels all, and waits until they have ended. */
  async close(): Promise<void> {
    for (const { cancel } of this.#jobs.values()) cancel.abort();
    await Promise.all([...this.#jobs.values()].map(({ done }) => done));
  }

  async #run(job: Job): Promise<void> {
    const { request } = job.view;
    const { signal } = job.cancel;
    const onLockWait = (text: string): void => this.#addNote(job, text);
    try {
      const host = await this.#open({ verb: request.verb, signal, onLockWait });
      try {
        const outcome = await perform(host, request, { signal, onProgress: (event) => this.#progress(job, event) });
        this.#end(job, ended(outcome));
      } finally {
        await host.close();
      }
    } catch (error) {
      // A host that cannot be closed does not undo what was done.
      if (job.view.state !== 'running') return;
      const report = reportOf(error);
      this.#end(job, { state: report.code === 'INTERRUPTED' ? 'interrupted' : 'failed', error: report });
    }
  }

  #progress(job: Job, event: ProgressEvent): void {
    if (event.kind === 'note') {
      this.#addNote(job, event.text);
      return;
    }
    const progress =
      event.kind === 'stage'
        ? { stage: event.stage, done: event.done + (event.failed ?? 0), total: event.total }
        : {
            stage: event.what,
            done: Math.round((100 * event.doneBytes) / Math.max(1, event.totalBytes ?? Number.POSITIVE_INFINITY)),
            total: 100,
          };
    this.#notice(job, { progress });
  }

  #addNote(job: Job, text: string): void {
    this.#notice(job, { notes: [...job.view.notes, text].slice(-most.notes) });
  }

  #end(job: Job, parts: Partial<JobView>): void {
    const notes = [...job.view.notes, ...(parts.notes ?? [])].slice(-most.notes);
    this.#notice(job, { ...parts, notes, progress: null, endedAt: this.#clock.now().toISOString() });
    const over = [...this.#jobs.values()].filter(({ view }) => view.state !== 'running');
    for (const { view } of over.slice(0, Math.max(0, over.length - most.ended))) this.#jobs.delete(view.id);
  }

  #notice(job: Job, parts: Partial<JobView>): void {
    job.view = { ...job.view, ...parts };
    this.#changed.add(job.view.id);
    this.onChange();
  }
}

function ended(outcome: Outcome): Partial<JobView> {
  const { counts, members, notes, operation } = outcome;
  const failures = members.flatMap(({ index, name, error }) => (error === undefined ? [] : [{ index, name, error }]));
  return {
    state: operation.interrupted ? 'interrupted' : counts.failed > 0 ? 'failed' : 'done',
    counts: Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)),
    failures: failures.slice(0, most.failures),
    notes,
  };
}
