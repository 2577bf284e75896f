import type { EngineDeclaration } from '../../core/engine/declaration.js';
import type { EstimateReport } from '../../core/fleet/estimate.js';
import type { Inventory } from '../../core/fleet/inventory.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import type { Target } from '../../core/fleet/selection/targets.js';
import type { ImportRequest, ImportResult } from '../../ports/bases.js';
import type { BaseListing } from '../base/bases.js';
import type { PromoteOptions, Promotion } from '../base/promote.js';
import type { PruneOptions, PruneResult } from '../base/prune.js';
import type { VerifiedBase } from '../base/verify.js';
import type { WorkOptions } from '../fleet/access.js';
import type { PowerOptions } from '../fleet/power.js';
import type { RebaseOptions } from '../fleet/rebase/rebase.js';
import type { ResetOptions } from '../fleet/reset/cold.js';
import type { ResumeOptions } from '../fleet/resume.js';
import type { SpawnOptions } from '../fleet/spawn/input/options.js';
import type { StoreReport } from '../fleet/status/report.js';
import type { FleetStatus, FleetSummary, StatusOptions } from '../fleet/status/status.js';
import type { TeardownOptions } from '../fleet/teardown/teardown.js';
import type { TeardownLoss } from '../fleet/teardown/teardown-loss.js';
import type { CopyOutcome, CopyRequest } from '../guest/copy.js';
import type { ExecOutcome, FleetsExecOptions } from '../guest/exec.js';
import type { LogsOptions, LogsResult } from '../guest/logs.js';
import type { Verification, VerifyOptions } from '../verify/verify.js';

/**
 * A platform that runs fleets: this host, or a cloud. Every engine performs the same commands with the same options and results;
 * `about` says what it cannot do. All calls may fail with a CowherdError.
 */
export interface Engine {
  readonly about: EngineDeclaration;
  /** The connection. */
  readonly uri: string;
  /** The directory of its records. */
  readonly root: string;

  /** Names of all fleets, including damaged ones. */
  fleetNames(): Promise<string[]>;
  /** @throws BAD_USAGE, FLEET_NOT_FOUND, MEMBER_NOT_FOUND */
  findTargets(words: readonly string[], file?: string): Promise<Target[]>;

  spawn(options: SpawnOptions): Promise<Outcome>;
  reset(options: ResetOptions): Promise<Outcome>;
  rebase(options: RebaseOptions): Promise<Outcome>;
  start(options: PowerOptions): Promise<Outcome>;
  stop(options: PowerOptions): Promise<Outcome>;
  teardown(options: TeardownOptions): Promise<Outcome>;
  resume(options: ResumeOptions): Promise<Outcome>;
  promote(options: PromoteOptions): Promise<Promotion>;

  list(): Promise<FleetSummary[]>;
  status(fleet: string, options?: StatusOptions): Promise<FleetStatus>;
  /** Watches fleets for a view that is drawn again. Absent if the platform reports no changes: see {@link changesOf}. */
  watch?(fleets: readonly string[], signal: AbortSignal): Promise<FleetChanges>;
  /** Rebuilds a lost record of a fleet. */
  recover(fleet: string): Promise<void>;
  /** @param fleets default: all. With `single`, a fleet that cannot be read is an error */
  report(fleets: readonly string[] | undefined, options?: { single?: boolean }): Promise<StoreReport | EstimateReport>;
  teardownLoss(fleet: string, members: readonly string[]): Promise<TeardownLoss>;
  verify(options: VerifyOptions): Promise<Verification>;

  exec(options: FleetsExecOptions): Promise<ExecOutcome[]>;
  copy(request: CopyRequest): Promise<CopyOutcome[]>;
  /** Runs ssh on the terminal. @returns its exit code */
  login(words: readonly string[], command: readonly string[]): Promise<number>;
  inventory(fleet: string, members: readonly string[]): Promise<Inventory>;
  logs(options: LogsOptions): Promise<LogsResult[]>;

  readonly bases: EngineBases;
  close(): Promise<void>;
}

export interface FleetChanges {
  /** Waits at least, then until something has changed since the last call, and at most the given times in milliseconds. */
  next(times: { least: number; most: number }): Promise<void>;
}

/** The base images of an engine. */
export interface EngineBases {
  list(): Promise<{ bases: BaseListing[]; damaged: Array<{ path: string; reason: string }> }>;
  add(request: Omit<ImportRequest, 'onProgress'>, options: WorkOptions): Promise<AddedBase>;
  inspect(ref: string): Promise<BaseListing & Pick<AddedBase, 'generalisation'> & { source: string }>;
  verify(ref: string, options: WorkOptions): Promise<VerifiedBase>;
  remove(ref: string, options: Pick<WorkOptions, 'signal' | 'onProgress'>): Promise<{ name: string; digest: string; freedBytes: number }>;
  prune(options: PruneOptions): Promise<PruneResult>;
}

export type AddedBase = BaseListing & { how: ImportResult['how']; warning?: string } & Pick<Promotion, 'generalisation'>;
