import type { VNode } from 'preact';
import type { FleetView } from '../../protocol.js';
import { operationLine } from '../text/words.js';

export function Progress({ label, done, total }: { label: string; done: number; total: number }): VNode {
  return <progress aria-label={label} max={Math.max(1, total)} value={Math.min(done, total)} />;
}

/** The command that runs in a fleet, or was interrupted. */
export function Operation({ fleet, operation }: { fleet: string; operation: FleetView['operation'] }): VNode | null {
  if (operation === null) return null;
  const { verb, done, failed, total, isInterrupted } = operation;
  return (
    <div class={isInterrupted ? 'operation box warn' : 'operation'}>
      <span>{operationLine(operation)}</span>
      {total > 0 && <Progress label={`Progress of ${verb} in ${fleet}`} done={done + failed} total={total} />}
      {isInterrupted && (
        <span>
          To finish it: <code>cowherd resume {fleet}</code>
        </span>
      )}
    </div>
  );
}
