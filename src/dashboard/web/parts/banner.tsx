import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { announce } from '../store/announcer.js';
import { herd, link } from '../store/page-store.js';
import { useValue } from './hooks.js';

/** What keeps the page from being up to date. */
export function Banner(): VNode | null {
  const state = useValue(link);
  const libvirt = useValue(herd, (known) => known?.libvirt ?? null);
  const isLate = useLate(state === 'lost');
  const message =
    state === 'signedOut'
      ? 'The session is not valid any more. Open the URL that "cowherd dashboard" printed.'
      : isLate
        ? 'cowherd dashboard is not running; trying again…'
        : libvirt !== null && !libvirt.isConnected
          ? `libvirt is not connected; trying again…${libvirt.reason === null ? '' : ` (${libvirt.reason})`}`
          : null;
  useEffect(() => {
    if (message !== null) announce(message);
  }, [message]);
  if (message === null) return null;
  return (
    <section class="banner" aria-label="Connection">
      <p>
        {message}
        {state !== 'open' && herd.get() !== null && ' What is shown may be outdated.'}
      </p>
    </section>
  );
}

/** Whether it has lasted for a second: a reload of the page or a short interruption is no news. */
function useLate(isSo: boolean): boolean {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    if (!isSo) {
      setLate(false);
      return;
    }
    const timer = setTimeout(() => setLate(true), 1000);
    return () => clearTimeout(timer);
  }, [isSo]);
  return isLate;
}
