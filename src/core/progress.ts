import type { StageName } from './operation.js';

/** What long work tells while it runs. Rendering is the ui's matter. */
export type ProgressEvent =
  | { kind: 'stage'; stage: StageName | 'exec' | 'copy' | 'compact' | 'verify' | 'relocate'; done: number; total: number }
  | { kind: 'bytes'; what: string; doneBytes: number; totalBytes: number }
  | { kind: 'note'; text: string };

export type ProgressListener = (event: ProgressEvent) => void;
