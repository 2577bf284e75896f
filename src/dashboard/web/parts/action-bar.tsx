import type { ComponentChildren, VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { ActionVerb } from '../../protocol.js';
import { verbLabels, verbs } from '../text/words.js';
import { ActionDialog } from './action-dialog.js';

/** The buttons of what can be done with some members of a fleet. */
export function ActionBar({
  fleet,
  members,
  children,
}: {
  fleet: string;
  members: readonly number[];
  children?: ComponentChildren;
}): VNode {
  const [verb, setVerb] = useState<ActionVerb | null>(null);
  return (
    <div class="actions">
      {children}
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields */}
      <div role="group" aria-label="Actions" class="buttons">
        {verbs.map((one) => (
          <button
            type="button"
            key={one}
            class={one === 'teardown' ? 'danger' : undefined}
            disabled={members.length === 0}
            onClick={() => setVerb(one)}
          >
            {verbLabels[one]}
          </button>
        ))}
      </div>
      {verb !== null && <ActionDialog first={{ verb, fleet, members: [...members] }} onClose={() => setVerb(null)} />}
    </div>
  );
}
