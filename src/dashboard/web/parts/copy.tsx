import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { announce } from '../store/announcer.js';

/** A shell command with a button that copies it. */
export function Command({ command, title }: { command: string; title?: string }): VNode {
  return (
    <div class="command">
      {title !== undefined && <span class="command-title">{title}</span>}
      <code>{command}</code>
      <CopyButton text={command} label={`Copy: ${title ?? 'command'}`} />
    </div>
  );
}

export function CopyButton({ text, label }: { text: string; label: string }): VNode {
  const [result, setResult] = useState<'Copied' | 'Not copied' | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async (): Promise<void> => {
    // Some browsers have no clipboard, and some ask the user.
    const next = await navigator.clipboard.writeText(text).then(
      () => 'Copied' as const,
      () => 'Not copied' as const,
    );
    setResult(next);
    announce(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setResult(null), 2000);
  };
  return (
    <button type="button" class="small" aria-label={result === null ? label : `${result}: ${label}`} onClick={() => void copy()}>
      {result ?? 'Copy'}
    </button>
  );
}
