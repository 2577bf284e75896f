import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { memberPath } from '../net/api.js';
import { socketUrl } from '../net/socket.js';
import { announce } from '../store/announcer.js';
import { useLeaveKey } from './leave-key.js';

/** The graphical screen of a member, on request. */
export function Screen({ fleet, index, isRunning }: { fleet: string; index: number; isRunning: boolean }): VNode {
  const [isOpen, setOpen] = useState(false);
  const [end, setEnd] = useState<string | null>(null);
  const button = useRef<HTMLButtonElement>(null);
  return (
    <>
      <div class="buttons">
        <button
          type="button"
          ref={button}
          disabled={!isRunning && !isOpen}
          onClick={() => {
            setEnd(null);
            setOpen(!isOpen);
          }}
        >
          {isOpen ? 'Close screen' : 'Open screen'}
        </button>
      </div>
      {isOpen && end === null && <p class="note">All keys go to the guest while the screen has the focus. To leave it, press F6.</p>}
      {end !== null && <p class="box warn">{end}</p>}
      {isOpen && (
        <ScreenPlace
          fleet={fleet}
          index={index}
          ended={(reason) => {
            setOpen(false);
            setEnd(reason);
            announce(`Screen: ${reason}`);
          }}
          leave={() => button.current?.focus()}
        />
      )}
    </>
  );
}

interface PlaceProps {
  fleet: string;
  index: number;
  ended: (reason: string) => void;
  leave: () => void;
}

function ScreenPlace({ fleet, index, ended, leave }: PlaceProps): VNode {
  const place = useRef<HTMLElement>(null);
  useLeaveKey(place, leave);
  useEffect(() => {
    let screen: { focus: () => void; close: () => void } | null = null;
    let isGone = false;
    import('./vnc.js').then(
      ({ openScreen }) => {
        if (isGone || place.current === null) return;
        screen = openScreen(place.current, socketUrl(`${memberPath(fleet, index)}/vnc`), (reason) => !isGone && ended(reason));
        screen.focus();
      },
      () => ended('The screen could not be loaded'),
    );
    return () => {
      isGone = true;
      screen?.close();
    };
  }, []);
  return <section class="screen" ref={place} aria-label="Screen" />;
}
