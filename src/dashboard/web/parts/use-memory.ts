import { useEffect, useState } from 'preact/hooks';
import type { MemoryView } from '../../protocol.js';
import { readMemory, reportOf } from '../net/api.js';

const everyMs = 10_000;

/** The use of memory, read again and again while it is wanted. */
export function useMemory(fleet: string, isWanted: boolean): { memory: MemoryView | null; error: string | null } {
  const [memory, setMemory] = useState<MemoryView | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    if (!isWanted) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async (): Promise<void> => {
      try {
        if (!document.hidden) {
          const next = await readMemory(fleet, stop.signal);
          if (stop.signal.aborted) return;
          setMemory(next);
          setError(null);
        }
      } catch (failure) {
        if (stop.signal.aborted) return;
        setError(reportOf(failure).message);
      }
      timer = setTimeout(() => void read(), everyMs);
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [fleet, isWanted]);
  return { memory, error: isWanted ? error : null };
}
