import type { MarkedMember } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { SeedSources } from '../../../core/guest/seed.js';
import type { TemplateSource } from './input/definitions.js';

export interface SpawnContext {
  /** The current record, or the intended one of an interrupted spawn. */
  recorded: FleetRecord | undefined;
  record: FleetRecord;
  /** The initial NVRAM, if this run provides one. */
  nvram: Buffer | undefined;
  template: TemplateSource;
  seedSources: SeedSources;
  began: number;
  importSeconds: number;
  notes: string[];
  /** Members before the first attempt. */
  before?: ReadonlyMap<string, MarkedMember>;
  /** The last attempt: every member is processed, even after failures. */
  isLast?: boolean;
}
