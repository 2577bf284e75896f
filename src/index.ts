/** cowherd as a library: a fleet as an object for test suites, and the services that the commands use.
 *
 * ```ts
 * import { spawnFleet } from 'cowherd';
 * await using fleet = await spawnFleet({ base: 'golden.qcow2', count: 3, spec: { seed: 'nocloud' }, wait: 'agent' });
 * const { members } = await fleet.exec(['hostname']);
 * ```
 */

export { Fleet, type FleetMember, type FleetOptions, spawnFleet } from './api/fleet.js';
export { CowherdError, type ErrorCode, type ErrorReport, exitCodeOf } from './core/errors.js';
export type { FleetEvent } from './core/events/fleet-event.js';
export type { Finding, FindingKind } from './core/finding.js';
export { formatInventory, type Inventory, type InventoryFormat } from './core/fleet/inventory.js';
export type { Outcome } from './core/fleet/outcome.js';
export type { FleetReport } from './core/fleet/savings.js';
export { parseWaitFor, parseWaitRequest, type ReadyStage, type WaitFor, type WaitRequest } from './core/guest/stages.js';
export { bootSector, readBootMarker } from './core/image/boot-sector.js';
export type { ProgressEvent, ProgressListener } from './core/progress.js';
export type { GivenSpec as FleetSpec } from './core/spec/spec.js';
export { type Host, type HostOptions, openHost } from './host.js';
export { addBase, inspectBase, listBases, removeBase } from './services/base/bases.js';
export { type CatalogListOptions, type CatalogRow, listCatalog } from './services/base/catalog.js';
export { type ExportedBase, type ExportOptions, exportBase } from './services/base/export.js';
export { type BaseHistory, history } from './services/base/history.js';
export { spawnWithImage } from './services/base/prepare/for-spawn.js';
export type { ImageRecipe, Preparation, PrepareOptions } from './services/base/prepare/options.js';
export { prepareBase } from './services/base/prepare/prepare.js';
export { type PromoteOptions, type Promotion, promote } from './services/base/promote.js';
export { type PruneOptions, type PruneResult, pruneBases } from './services/base/prune.js';
export type { PullOptions } from './services/base/pull/options.js';
export { type PullResult, pullBase } from './services/base/pull/pull.js';
export { type Update, type UpdateOptions, updateBase } from './services/base/pull/update.js';
export { type MemberRelocation, type RelocateOptions, type Relocation, relocate } from './services/base/relocate.js';
export { verifyBase } from './services/base/verify.js';
export { type CheckpointOptions, checkpoint } from './services/checkpoint/take.js';
export { spawnBootOnce } from './services/clone/boot-once.js';
export { type WatchOptions, watchEvents } from './services/events/watch.js';
export { type CompactOptions, type CompactOutcome, compact } from './services/fleet/compact.js';
export { type PowerOptions, start, stop } from './services/fleet/power.js';
export { type RebaseOptions, rebase } from './services/fleet/rebase/rebase.js';
export { recoverFleet } from './services/fleet/recover.js';
export type { ResetOptions } from './services/fleet/reset/cold.js';
export { reset } from './services/fleet/reset/reset.js';
export { type ResumeOptions, resume } from './services/fleet/resume.js';
export type { SpawnOptions } from './services/fleet/spawn/input/options.js';
export { renderMember } from './services/fleet/spawn/input/templates.js';
export { spawn } from './services/fleet/spawn/spawn.js';
export { report, reportAll } from './services/fleet/status/report.js';
export { type FleetStatus, listFleets, type StatusOptions, status } from './services/fleet/status/status.js';
export { type TeardownOptions, teardown } from './services/fleet/teardown/teardown.js';
export { type CopyOutcome, type CopyRequest, copy } from './services/guest/copy.js';
export { type ExecOptions, type ExecOutcome, exec } from './services/guest/exec.js';
export { inventory } from './services/guest/inventory.js';
export { type DoctorOptions, doctor } from './services/preflight/doctor.js';
export { listSnapshots, type SnapshotLists } from './services/snapshot/list.js';
export { type BackOptions, commitSnapshot, type DropOptions, dropSnapshot, rollbackSnapshot } from './services/snapshot/revert.js';
export { type TakeOptions, takeSnapshot } from './services/snapshot/take.js';
export type { SnapshotOutcome } from './services/snapshot/verb.js';
export { type Verification, type VerifyOptions, verifyStore } from './services/verify/verify.js';
