import type { ErrorReport } from '../core/errors.js';
import type { FleetEvent } from '../core/events/fleet-event.js';
import type { MemberState } from '../core/fleet/observation.js';

/**
 * What the server of `cowherd dashboard` and its page exchange. Types only. All paths are relative to the page.
 *
 * | request | answer |
 * | --- | --- |
 * | GET api/stream | server-sent events: `state` with a {@link HerdView}, then `change` with a {@link HerdChange} each |
 * | GET api/fleets/FLEET/members/N | {@link MemberDetail} |
 * | GET api/fleets/FLEET/members/N/screenshot | a picture: image/png, or image/x-portable-pixmap |
 * | GET api/fleets/FLEET/memory | {@link MemoryView} |
 * | POST api/plans with a {@link Request} | {@link ActionPlan} |
 * | POST api/jobs with a {@link Request} | 202, {@link JobView} |
 * | POST api/jobs/ID/cancel | 204 |
 * | WebSocket api/fleets/FLEET/members/N/console?force=1 | binary: what the terminal and the guest write |
 * | WebSocket api/fleets/FLEET/members/N/vnc | binary: the RFB protocol |
 *
 * Errors have the status 400 to 503, and the body {@link Refusal}. A WebSocket that ends for a reason closes with the code
 * 4000 and the reason in words, or 4001 if another user has the console.
 */

export interface Refusal {
  error: ErrorReport;
}

/** The first event of a stream, and again when the server no longer has what a page has missed. */
export interface HerdView {
  about: About;
  libvirt: LibvirtView;
  fleets: FleetView[];
  /** Those that run, and the last ones that ended. */
  jobs: JobView[];
  /** The latest, oldest first. */
  events: FleetEvent[];
}

/** Constant while the server runs. */
export interface About {
  version: string;
  /** The name of this machine. */
  host: string;
  uri: string;
  store: string;
  /** Whose rights all actions have. */
  user: string;
  isReadOnly: boolean;
}

export interface LibvirtView {
  isConnected: boolean;
  /** Why not. */
  reason: string | null;
}

export interface FleetView {
  fleet: string;
  /** NAME@DIGEST */
  base: string;
  /** NAME@DIGEST, if some members are based on an older one. */
  newerBase: string | null;
  /** Why the fleet cannot be read, or what is wrong with its base image. */
  problem: string | null;
  /** Compared with sparse full copies of the base image; null until they are known. */
  savings: { usedBytes: number; copyBytes: number } | null;
  /** The command that runs in the fleet, or was interrupted. */
  operation: { verb: string; done: number; failed: number; total: number; isInterrupted: boolean } | null;
  members: MemberView[];
}

export interface MemberView {
  index: number;
  name: string;
  state: MemberState;
  /** libvirt's reason for the state. */
  reason: string;
  /** Whether the guest agent is connected; null if that is not known. */
  hasAgent: boolean | null;
  overlayBytes: number;
  driftBytes: number;
  address: string | null;
  /** Port of 127.0.0.1 that is forwarded to its port 22. */
  sshPort: number | null;
  /** ISO date. */
  checkpointAt: string | null;
  /** ISO date of the start of its QEMU; null if it is stopped. */
  startedAt: string | null;
  /** NAME@DIGEST */
  base: string;
  isOutdated: boolean;
  problems: string[];
  /** What to do about the problems. */
  hint: string | null;
  /** In the running command. */
  progress: 'done' | 'failed' | null;
}

/** What has changed since the previous event. What is missing has not. */
export interface HerdChange {
  libvirt?: LibvirtView;
  /** By name; null if the fleet is gone. */
  fleets?: Record<string, FleetChange | null>;
  jobs?: JobView[];
  /** New ones. */
  events?: FleetEvent[];
}

/** Of a fleet that is new, everything. */
export interface FleetChange extends Partial<Omit<FleetView, 'members' | 'fleet'>> {
  /** Whole rows of the members that are new or have changed. */
  members?: MemberView[];
  /** Indexes of members that are gone. */
  gone?: number[];
}

export interface MemberDetail {
  index: number;
  name: string;
  uuid: string;
  cards: Array<{ mac: string; addresses: string[] }>;
  disks: Array<{
    /** root, or the name of a further disk. */
    name: string;
    /** The overlay first, then its backing files. */
    chain: Array<{ path: string; format: string; virtualBytes: number; allocatedBytes: number }>;
  }>;
  checkpoint: { takenAt: string; bytes: number } | null;
  /** As text: it contains what the guest or a template chose. */
  xml: string | null;
  hasConsole: boolean;
  /** vnc can be shown; others need a program. */
  graphics: 'vnc' | 'other' | null;
  commands: Array<{ title: string; command: string }>;
}

/** By the name of a running member, in bytes. */
export interface MemoryView {
  members: Record<string, { privateBytes: number; sharedBytes: number }>;
}

export type ActionVerb = 'start' | 'stop' | 'reset' | 'checkpoint' | 'teardown';

export interface Request {
  verb: ActionVerb;
  fleet: string;
  /** Indexes; at least one. */
  members: number[];
  /** reset: restore the checkpoint. */
  warm?: boolean;
  /** stop: force off guests that do not shut down in time. */
  force?: boolean;
}

/** What a request would do. */
export interface ActionPlan {
  /** Members with at least one step. */
  steps: Array<{ index: number; name: string; steps: string[]; why: string }>;
  /** Number of members that stay as they are. */
  unchanged: number;
  refused: Array<{ name: string; reason: string; hint: string }>;
  /** What cannot be undone; null if nothing is lost. */
  loss: { members: number; running: number; driftBytes: number; checkpoints: number } | null;
  /** Why the whole request would be refused. */
  refusal: ErrorReport | null;
  notes: string[];
  /** The same on the command line. */
  command: string;
}

/** An action that was started from a page. */
export interface JobView {
  id: string;
  request: Request;
  /** ISO dates. */
  startedAt: string;
  endedAt: string | null;
  state: 'running' | 'done' | 'failed' | 'interrupted';
  /** Of the current stage. */
  progress: { stage: string; done: number; total: number } | null;
  /** Members by outcome, e.g. reset, unchanged, failed. */
  counts: Record<string, number>;
  failures: Array<{ index: number; name: string; error: ErrorReport }>;
  /** Why the whole action failed. */
  error: ErrorReport | null;
  notes: string[];
}
