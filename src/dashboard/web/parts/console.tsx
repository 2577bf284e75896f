import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { memberPath } from '../net/api.js';
import { socketUrl } from '../net/socket.js';
import { announce } from '../store/announcer.js';
import { useLeaveKey } from './leave-key.js';
import type { ConsoleEnd, Console as OpenConsole } from './terminal.js';

interface ConsoleProps {
  fleet: string;
  index: number;
  isRunning: boolean;
  isReadOnly: boolean;
}

/** A connection that was asked for. */
interface Attempt {
  number: number;
  /** Whether to disconnect another user. */
  isForced: boolean;
}

/** The serial console of a member, on request: it may be in use by another user. */
export function Console({ fleet, index, isRunning, isReadOnly }: ConsoleProps): VNode {
  const [attempt, setAttempt] = useState<Attempt | null>(null);
  const [end, setEnd] = useState<ConsoleEnd | null>(null);
  const button = useRef<HTMLButtonElement>(null);
  const connect = (isForced: boolean): void => {
    setEnd(null);
    setAttempt({ number: (attempt?.number ?? 0) + 1, isForced });
  };
  const close = (): void => {
    setEnd(null);
    setAttempt(null);
  };
  const finish = (how: ConsoleEnd): void => {
    setEnd(how);
    announce(`Console: ${how.reason}`);
  };
  const canForce = end?.isInUse === true && !isReadOnly;
  return (
    <>
      <div class="buttons">
        <button
          type="button"
          ref={button}
          disabled={attempt === null && !isRunning}
          onClick={() => (attempt === null ? connect(false) : close())}
        >
          {attempt === null ? 'Open console' : 'Close console'}
        </button>
        {end !== null && (
          <button type="button" onClick={() => connect(canForce)}>
            {canForce ? 'Take over' : 'Connect again'}
          </button>
        )}
      </div>
      {!isRunning && attempt === null && <p class="note">The member is not running.</p>}
      {attempt !== null && end === null && (
        <p class="note" id="console-help">
          {isReadOnly ? 'Read-only: keys do not go to the guest.' : 'All keys go to the guest, including Tab.'} To leave the console, press
          F6.
        </p>
      )}
      {end !== null && <p class="box warn">{end.reason}</p>}
      {attempt !== null && (
        <TerminalPlace
          key={attempt.number}
          {...{ fleet, index, isReadOnly }}
          isForced={attempt.isForced}
          ended={finish}
          leave={() => button.current?.focus()}
        />
      )}
    </>
  );
}

interface PlaceProps {
  fleet: string;
  index: number;
  isReadOnly: boolean;
  isForced: boolean;
  ended: (end: ConsoleEnd) => void;
  leave: () => void;
}

/** Loads the terminal when it is first shown. */
function TerminalPlace({ fleet, index, isReadOnly, isForced, ended, leave }: PlaceProps): VNode {
  const place = useRef<HTMLElement>(null);
  useLeaveKey(place, leave);
  useEffect(() => {
    let terminal: OpenConsole | null = null;
    let isGone = false;
    const url = socketUrl(`${memberPath(fleet, index)}/console${isForced ? '?force=1' : ''}`);
    import('./terminal.js').then(
      ({ openConsole }) => {
        if (isGone || place.current === null) return;
        terminal = openConsole(place.current, url, isReadOnly, (end) => !isGone && ended(end));
        terminal.focus();
      },
      () => ended({ reason: 'The terminal could not be loaded', isInUse: false }),
    );
    return () => {
      isGone = true;
      terminal?.close();
    };
  }, []);
  return <section class="console-place" ref={place} aria-label="Serial console" aria-describedby="console-help" />;
}
