/**
 * cowherd as a library: a fleet as an object for test suites, and the same services that the commands use.
 *
 * ```ts
 * import { spawnFleet } from 'cowherd';
 * await using fleet = await spawnFleet({ base: 'golden.qcow2', count: 3, spec: { seed: 'nocloud' }, wait: 'agent' });
 * const { members } = await fleet.exec(['hostname']);
 * ```
 */
export { bootSector, readBootMarker } from './core/boot-sector.js';
export { CowherdError, type ErrorCode, type ErrorReport, exitCodeOf } from './core/errors.js';
export type { Finding, FindingKind } from './core/finding.js';
export { formatInventory, type Inventory, type InventoryFormat } from './core/inventory.js';
export type { Outcome } from './core/outcome.js';
export type { ProgressEvent, ProgressListener } from './core/progress.js';
export type { FleetReport } from './core/savings.js';
export type { GivenSpec as FleetSpec } from './core/spec.js';
export { parseWaitFor, type ReadyStage, type WaitFor } from './core/stages.js';
export { Fleet, type FleetMember, type FleetOptions, spawnFleet } from './fleet.js';
export { type Host, type HostOptions, openHost } from './host.js';
export { type ExportedBase, type ExportOptions, exportBase } from './services/base-export.js';
export { type BaseHistory, history } from './services/base-history.js';
export { type PruneOptions, type PruneResult, pruneBases } from './services/base-prune.js';
export { type MemberRelocation, type RelocateOptions, type Relocation, relocate } from './services/base-relocate.js';
export { verifyBase } from './services/base-verify.js';
export { addBase, inspectBase, listBases, removeBase } from './services/bases.js';
export { type CompactOptions, type CompactOutcome, compact } from './services/compact.js';
export { type CopyOutcome, type CopyRequest, copy } from './services/copy.js';
export { type DoctorOptions, doctor } from './services/doctor.js';
export { type ExecOptions, type ExecOutcome, exec } from './services/exec.js';
export { inventory } from './services/inventory.js';
export { type PowerOptions, start, stop } from './services/power.js';
export { type PromoteOptions, type Promotion, promote } from './services/promote.js';
export { type RebaseOptions, rebase } from './services/rebase.js';
export { recoverFleet } from './services/recover.js';
export { report, reportAll } from './services/report.js';
export { type ResetOptions, reset } from './services/reset.js';
export { type ResumeOptions, resume } from './services/resume.js';
export { type BackOptions, commitSnapshot, type DropOptions, dropSnapshot, rollbackSnapshot } from './services/snapshots/back.js';
export { listSnapshots, type SnapshotLists } from './services/snapshots/list.js';
export { type TakeOptions, takeSnapshot } from './services/snapshots/take.js';
export type { SnapshotOutcome } from './services/snapshots/verb.js';
export { spawn } from './services/spawn.js';
export type { SpawnOptions } from './services/spawn-options.js';
export { type FleetStatus, listFleets, type StatusOptions, status } from './services/status.js';
export { type TeardownOptions, teardown } from './services/teardown.js';
export { renderMember } from './services/templates.js';
export { type Verification, type VerifyOptions, verifyStore } from './services/verify/verify.js';
export { type CheckpointOptions, checkpoint } from './services/warm/checkpoint.js';
