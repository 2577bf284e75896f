import { useEffect, useRef, useState } from 'preact/hooks';
import type { Observable } from '../store/observable.js';

/** The value of an observable, or a part of it. The view is shown again if that part is another object. */
export function useValue<T, P = T>(source: Observable<T>, partOf: (value: T) => P = (value) => value as unknown as P): P {
  const part = partOf(source.get());
  const shown = useRef(part);
  shown.current = part;
  const select = useRef(partOf);
  select.current = partOf;
  const [, show] = useState(0);
  useEffect(() => {
    const check = (): void => {
      if (!Object.is(select.current(source.get()), shown.current)) show((count) => count + 1);
    };
    check();
    return source.subscribe(check);
  }, [source]);
  return part;
}

/** The latest value, but a new one at most every so many milliseconds. */
export function useThrottled<T>(value: T, gapMs: number): T {
  const [shown, show] = useState(value);
  const latest = useRef(value);
  latest.current = value;
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const shownAt = useRef(0);
  useEffect(() => {
    if (Object.is(value, shown) || timer.current !== undefined) return;
    const update = (): void => {
      timer.current = undefined;
      shownAt.current = performance.now();
      show(() => latest.current);
    };
    const wait = shownAt.current + gapMs - performance.now();
    if (wait <= 0) update();
    else timer.current = setTimeout(update, wait);
  }, [value, shown, gapMs]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return shown;
}

/** The time, for ages that are shown. */
export function useNow(everyMs = 10_000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
