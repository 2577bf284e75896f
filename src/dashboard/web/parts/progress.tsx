import type { VNode } from 'preact';
import type { FleetView } from '../../protocol.js';
import { operationLine } from '../text/words.js';

export function Progress({ label, done, total }: { label: string; done: number; total: number }): VNode {
  return <progress aria-label={label} max={Math.max(1, total)} value={Math.min(done, total)} />;
}

interface OperationProps {
  fleet: string;
  operation: FleetView['operation'];
  /** Takes its place also without a command: otherwise what is below would move away from the pointer when one begins or ends. */
  isKept?: boolean;
}

/** The command that runs in a fleet, or was interrupted. */
export function Operation({ fleet, operation, isKept = false }: OperationProps): VNode | null {
  if (operation === null) return isKept ? <p class="operation note">No command is running.</p> : null;
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
