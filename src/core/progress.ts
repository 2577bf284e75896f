import type { StageName } from './fleet/operation.js';
import type { ReadyStage } from './guest/stages.js';

/** Progress of long operations; rendered by the CLI. */
export type ProgressEvent =
  | {
      kind: 'stage';
      stage: StageName | 'exec' | 'copy' | 'compact' | 'verify' | 'relocate';
      done: number;
      total: number;
      /** Failed members. */
      failed?: number;
      /** Stage wait: names of the members that have not reached a stage yet. Live. */
      pending?: ReadonlyMap<ReadyStage, ReadonlySet<string>>;
    }
  /** totalBytes is undefined if it is not known in advance. */
  | { kind: 'bytes'; what: string; doneBytes: number; totalBytes: number | undefined }
  | { kind: 'note'; text: string };

export type ProgressListener = (event: ProgressEvent) => void;

/** Progress of a long copy or read. */
export interface ImportProgress {
  doneBytes: number;
  /** Undefined if it is not known in advance. */
  totalBytes: number | undefined;
  /** What is done, if it is not the work that was asked for: `unpacking disk.xz`. */
  what?: string;
}
