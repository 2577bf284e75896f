import type { StageName } from './fleet/operation.js';
import type { ReadyStage } from './guest/stages.js';

/** What long work tells while it runs. Rendering is the ui's matter. */
export type ProgressEvent =
  | {
      kind: 'stage';
      stage: StageName | 'exec' | 'copy' | 'compact' | 'verify' | 'relocate';
      done: number;
      total: number;
      /** Members that it has failed for. */
      failed?: number;
      /** Stage wait: names of the members that have not reached a stage yet. It changes as they do. */
      pending?: ReadonlyMap<ReadyStage, ReadonlySet<string>>;
    }
  | { kind: 'bytes'; what: string; doneBytes: number; totalBytes: number }
  | { kind: 'note'; text: string };

export type ProgressListener = (event: ProgressEvent) => void;
