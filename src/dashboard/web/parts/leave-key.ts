import { useEffect, useRef } from 'preact/hooks';

/** Lets F6 move the focus out of an element that takes all other keys. */
export function useLeaveKey(place: { current: HTMLElement | null }, leave: () => void): void {
  const latest = useRef(leave);
  latest.current = leave;
  useEffect(() => {
    const element = place.current;
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== 'F6') return;
      event.preventDefault();
      event.stopPropagation();
      if (event.type === 'keydown') latest.current();
    };
    element?.addEventListener('keydown', onKey, true);
    element?.addEventListener('keyup', onKey, true);
    return () => {
      element?.removeEventListener('keydown', onKey, true);
      element?.removeEventListener('keyup', onKey, true);
    };
  }, [place]);
}
