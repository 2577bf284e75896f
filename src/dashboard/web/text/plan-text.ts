import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import { wordsOf } from '../../../core/stage-words.js';
import type { ActionPlan, ActionVerb } from '../../protocol.js';
import { bytes, plural } from './format.js';

/** Members with the same steps for the same reason. */
export interface StepGroup {
  count: number;
  /** `1-3,7` */
  indexes: string;
  steps: string;
  why: string;
}

export function stepGroups(steps: ActionPlan['steps']): StepGroup[] {
  const groups = new Map<string, { indexes: number[]; steps: string; why: string }>();
  for (const { index, steps: names, why } of steps) {
    const key = JSON.stringify([names, why]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { indexes: [index], steps: names.map((name) => wordsOf(name).done).join(', '), why });
    else group.indexes.push(index);
  }
  return [...groups.values()].map(({ indexes, ...group }) => ({ count: indexes.length, indexes: formatIndexes(indexes), ...group }));
}

/** `This discards 340 MiB written by 3 members and 2 checkpoints. 1 member is running.` */
export function lossText(verb: ActionVerb, { members, running, driftBytes, checkpoints }: NonNullable<ActionPlan['loss']>): string {
  const parts = [
    ...(driftBytes > 0 ? [`${bytes(driftBytes)} written by ${plural(members, 'member')}`] : []),
    ...(checkpoints > 0 ? [plural(checkpoints, 'checkpoint')] : []),
  ];
  const effects = [
    ...(verb === 'teardown' ? [`removes ${plural(members, 'member')}`] : []),
    ...(parts.length > 0 ? [`discards ${parts.join(' and ')}`] : []),
  ];
  const sentences = [
    ...(effects.length > 0 ? [`This ${effects.join(', and ')}`] : []),
    ...(running > 0 ? [`${plural(running, 'running guest')} ${running === 1 ? 'is' : 'are'} forced off`] : []),
    'It cannot be undone',
  ];
  return `${sentences.join('. ')}.`;
}
