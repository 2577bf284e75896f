/**
 * cowherd as a library: the same services that the commands use.
 *
 * ```ts
 * import { openHost, spawn, teardown } from 'cowherd';
 * await using host = await openHost();
 * await spawn(host, { fleet: 'lab', base: 'golden.qcow2', count: 10 });
 * ```
 */
export { bootSector, readBootMarker } from './core/boot-sector.js';
export { CowherdError, type ErrorCode, type ErrorReport, exitCodeOf } from './core/errors.js';
export type { Outcome } from './core/outcome.js';
export type { ProgressEvent, ProgressListener } from './core/progress.js';
export type { FleetReport } from './core/savings.js';
export { type Host, type HostOptions, openHost } from './host.js';
export { addBase, inspectBase, listBases, removeBase, verifyBase } from './services/bases.js';
export { type DoctorOptions, doctor } from './services/doctor.js';
export { type PowerOptions, start, stop } from './services/power.js';
export { recoverFleet } from './services/recover.js';
export { report, reportAll } from './services/report.js';
export { type ResetOptions, reset } from './services/reset.js';
export { type ResumeOptions, resume } from './services/resume.js';
export { type SpawnOptions, spawn } from './services/spawn.js';
export { type FleetStatus, listFleets, status } from './services/status.js';
export { type TeardownOptions, teardown } from './services/teardown.js';
export { renderMember } from './services/templates.js';
