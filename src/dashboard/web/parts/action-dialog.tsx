import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ErrorReport } from '../../../core/errors.js';
import type { ActionPlan, Request } from '../../protocol.js';
import { plan, reportOf, startJob } from '../net/api.js';
import { announce } from '../store/announcer.js';
import { addJob } from '../store/page-store.js';
import { jobTitle } from '../text/job-text.js';
import { actionLabel } from '../text/words.js';
import { ActionOptions, NameQuestion } from './action-options.js';
import { ErrorBox } from './error-box.js';
import { PlanView } from './plan-view.js';

type Planned = { plan: ActionPlan } | { error: ErrorReport } | null;

/** Shows what an action would do, and starts it after a confirmation. */
export function ActionDialog({ first, onClose }: { first: Request; onClose: () => void }): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const [request, setRequest] = useState(first);
  const [isNamed, setNamed] = useState(first.verb !== 'teardown');
  const planned = usePlan(request);
  const { start, isSending, error } = useStart(request, () => dialog.current?.close());
  useEffect(() => dialog.current?.showModal(), []);

  const ready = planned !== null && 'plan' in planned ? planned.plan : null;
  const isPossible = ready !== null && ready.refusal === null && ready.steps.length > 0 && isNamed && !isSending;
  const title = jobTitle({ request });
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={onClose}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          if (isPossible) void start();
        }}
      >
        <h2 id="dialog-title">{title}</h2>
        <div class="dialog-body">
          <ActionOptions request={request} onChange={setRequest} />
          {planned === null && <p role="status">Planning…</p>}
          {planned !== null && 'error' in planned && <ErrorBox error={planned.error} title="The plan failed" />}
          {ready !== null && <PlanView verb={request.verb} plan={ready} />}
          {first.verb === 'teardown' && ready !== null && ready.refusal === null && ready.steps.length > 0 && (
            <NameQuestion fleet={first.fleet} onAnswer={setNamed} />
          )}
          {error !== null && (
            <div role="alert">
              <ErrorBox error={error} title="The action was not started" />
            </div>
          )}
        </div>
        <div class="dialog-buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class={first.verb === 'teardown' || ready?.loss ? 'danger primary' : 'primary'} disabled={!isPossible}>
            {actionLabel(request.verb, ready === null ? request.members.length : ready.steps.length)}
          </button>
        </div>
      </form>
    </dialog>
  );
}

/** The plan for a request; null until it is known. */
function usePlan(request: Request): Planned {
  const [planned, setPlanned] = useState<Planned>(null);
  useEffect(() => {
    const stop = new AbortController();
    setPlanned(null);
    plan(request, stop.signal).then(
      (answer) => !stop.signal.aborted && setPlanned({ plan: answer }),
      (error: unknown) => !stop.signal.aborted && setPlanned({ error: reportOf(error) }),
    );
    return () => stop.abort();
  }, [request]);
  return planned;
}

function useStart(request: Request, started: () => void): { start: () => Promise<void>; isSending: boolean; error: ErrorReport | null } {
  const [isSending, setSending] = useState(false);
  const [error, setError] = useState<ErrorReport | null>(null);
  const start = async (): Promise<void> => {
    setSending(true);
    setError(null);
    try {
      const job = await startJob(request);
      addJob(job);
      announce(`Started: ${jobTitle(job)}`);
      started();
    } catch (failure) {
      setError(reportOf(failure));
      setSending(false);
    }
  };
  return { start, isSending, error };
}
