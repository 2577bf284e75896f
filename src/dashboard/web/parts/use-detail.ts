import { useEffect, useState } from 'preact/hooks';
import type { ErrorReport } from '../../../core/errors.js';
import type { MemberDetail, MemberView } from '../../protocol.js';
import { readMember, reportOf } from '../net/api.js';

/** A state that changes several times within this time is read once. */
const settleMs = 500;

export interface Detail {
  detail: MemberDetail | null;
  error: ErrorReport | null;
  refresh: () => void;
}

/** What the stream does not tell about a member. It is read again after its state or checkpoint changed. */
export function useDetail(fleet: string, { index, state, startedAt, checkpointAt, base }: MemberView): Detail {
  const [detail, setDetail] = useState<MemberDetail | null>(null);
  const [error, setError] = useState<ErrorReport | null>(null);
  const [attempt, setAttempt] = useState(0);
  const version = [state, startedAt, checkpointAt, base, attempt].join('\n');
  useEffect(() => {
    const stop = new AbortController();
    const read = async (): Promise<void> => {
      try {
        const next = await readMember(fleet, index, stop.signal);
        if (stop.signal.aborted) return;
        setDetail(next);
        setError(null);
      } catch (failure) {
        if (!stop.signal.aborted) setError(reportOf(failure));
      }
    };
    const timer = setTimeout(() => void read(), detail === null ? 0 : settleMs);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [fleet, index, version]);
  return { detail, error, refresh: () => setAttempt((count) => count + 1) };
}
