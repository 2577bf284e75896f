import { type SettingName, type Settings, type Source, settingNames } from '../../core/host/settings.js';
import { defaultDomainSpec } from '../../core/spec/spec.js';

/** The effective value of a setting. */
export interface EffectiveSetting {
  name: SettingName;
  /** Null if it has none. */
  value: string | string[] | null;
  source: Source['kind'];
  /** The variable or file; null for flags and built-in values. */
  from: string | null;
}

/** @param given values of flags */
export function effectiveSettings(
  given: { connect?: string | undefined; store?: string | undefined },
  settings: Settings,
  builtIn: { connect: string; store: string },
): EffectiveSetting[] {
  const fallback: Record<SettingName, string | string[] | null> = {
    ...builtIn,
    network: defaultDomainSpec.network,
    seed: defaultDomainSpec.seed,
    sshKeys: [],
    template: null,
    catalog: null,
  };
  return settingNames.map((name): EffectiveSetting => {
    const flag = name === 'connect' || name === 'store' ? given[name] : undefined;
    if (flag !== undefined) return { name, value: flag, source: 'flag', from: null };
    const set = settings[name];
    return set === undefined
      ? { name, value: fallback[name], source: 'built-in', from: null }
      : { name, value: set.value, source: set.source.kind, from: set.source.from ?? null };
  });
}
