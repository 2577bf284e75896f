import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { ErrorReport } from '../../../core/errors.js';
import type { JobView, Request } from '../../protocol.js';
import { cancelJob, reportOf } from '../net/api.js';
import { failureGroups } from '../text/failure-groups.js';
import { clockTime, plural } from '../text/format.js';
import { jobResult, jobTitle } from '../text/job-text.js';
import { ErrorBox } from './error-box.js';
import { Progress } from './progress.js';

interface JobProps {
  job: JobView;
  /** Whether its failures are shown at once. */
  isLatest: boolean;
  onRetry: (request: Request) => void;
  onDismiss: (id: string) => void;
}

/** One action: what it does, and what became of it. */
export function Job({ job, isLatest, onRetry, onDismiss }: JobProps): VNode {
  const { state, progress, counts, failures, error, notes, startedAt, endedAt } = job;
  const isBad = state === 'failed' || failures.length > 0;
  return (
    <article class={`job box${isBad ? ' bad' : state === 'interrupted' ? ' warn' : state === 'done' ? ' good' : ''}`}>
      <div class="job-head">
        <h2>{jobTitle(job)}</h2>
        <p>
          {jobResult(job)} {endedAt !== null && <span class="note">at {clockTime(endedAt)}</span>}
        </p>
        <JobButtons job={job} onRetry={onRetry} onDismiss={onDismiss} />
      </div>
      {state === 'running' && progress !== null && (
        <Progress label={`Progress: ${jobTitle(job)}`} done={progress.done} total={progress.total} />
      )}
      {error !== null && <ErrorBox error={error} />}
      {failures.length > 0 && (
        <details open={isLatest}>
          <summary>
            {plural(counts.failed ?? failures.length, 'member')} failed
            {(counts.failed ?? 0) > failures.length && `; the first ${failures.length} of them`}
          </summary>
          <Failures failures={failures} label={`Failures: ${jobTitle(job)}, ${clockTime(startedAt)}`} />
        </details>
      )}
      {notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
    </article>
  );
}

function JobButtons({ job, onRetry, onDismiss }: Omit<JobProps, 'isLatest'>): VNode {
  const { id, request, state, failures, error } = job;
  const title = jobTitle(job);
  if (state === 'running') return <CancelButton id={id} title={title} />;
  return (
    <div class="buttons">
      {failures.length > 0 && (
        <button type="button" class="small" onClick={() => onRetry({ ...request, members: failures.map(({ index }) => index) })}>
          Retry failed ({failures.length})
        </button>
      )}
      {failures.length === 0 && error !== null && (
        <button type="button" class="small" aria-label={`Try again: ${title}`} onClick={() => onRetry(request)}>
          Try again
        </button>
      )}
      <button type="button" class="small" aria-label={`Dismiss: ${title}`} onClick={() => onDismiss(id)}>
        Dismiss
      </button>
    </div>
  );
}

function Failures({ failures, label }: Pick<JobView, 'failures'> & { label: string }): VNode {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a long list is scrolled with the keyboard
    <section class="scroll short" aria-label={label} tabIndex={0}>
      {failureGroups(failures).map(({ members, count, error }) => (
        <ErrorBox key={members} error={error} title={count === 1 ? members : `${plural(count, 'member')} ${members}`} />
      ))}
    </section>
  );
}

function CancelButton({ id, title }: { id: string; title: string }): VNode {
  const [isSent, setSent] = useState(false);
  const [error, setError] = useState<ErrorReport | null>(null);
  const cancel = async (): Promise<void> => {
    if (isSent) return;
    setSent(true);
    setError(null);
    try {
      await cancelJob(id);
    } catch (failure) {
      setError(reportOf(failure));
      setSent(false);
    }
  };
  return (
    <>
      <button type="button" class="small" aria-disabled={isSent} aria-label={`Cancel: ${title}`} onClick={() => void cancel()}>
        {isSent ? 'Canceling…' : 'Cancel'}
      </button>
      {error !== null && <ErrorBox error={error} title="Not canceled" />}
    </>
  );
}
