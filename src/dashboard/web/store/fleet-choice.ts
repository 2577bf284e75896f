import type { Shade } from './levels.js';
import { type Observable, observable } from './observable.js';
import type { TableChoice } from './rows.js';
import { noSelection, type Selection } from './selection.js';

/** What the user chose on the page of a fleet. It is kept while other pages are open. */
export interface FleetChoice {
  selection: Observable<Selection>;
  table: Observable<TableChoice>;
  shade: Observable<Shade>;
}

const choices = new Map<string, FleetChoice>();

export function choiceOf(fleet: string): FleetChoice {
  const known = choices.get(fleet);
  if (known !== undefined) return known;
  const choice: FleetChoice = {
    selection: observable(noSelection),
    table: observable<TableChoice>({ filter: '', sort: 'member', isDown: false, group: 'none' }),
    shade: observable<Shade>('state'),
  };
  choices.set(fleet, choice);
  return choice;
}
