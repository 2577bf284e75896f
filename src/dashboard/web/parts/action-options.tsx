import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { Request } from '../../protocol.js';

interface OptionsProps {
  request: Request;
  onChange: (request: Request) => void;
}

/** What can be chosen for an action. */
export function ActionOptions({ request, onChange }: OptionsProps): VNode | null {
  if (request.verb === 'stop') {
    return (
      <label class="option">
        <input
          type="checkbox"
          checked={request.force === true}
          onChange={(event) => onChange({ ...request, force: event.currentTarget.checked })}
        />{' '}
        Force off guests that do not shut down in time
      </label>
    );
  }
  if (request.verb !== 'reset') return null;
  return (
    <fieldset>
      <legend>Reset to</legend>
      <ResetKind request={request} onChange={onChange} isWarm={false} label="the base image: discard changes, boot again" />
      <ResetKind request={request} onChange={onChange} isWarm={true} label="the checkpoint: restore memory and disks" />
    </fieldset>
  );
}

function ResetKind({ request, onChange, isWarm, label }: OptionsProps & { isWarm: boolean; label: string }): VNode {
  return (
    <label class="option">
      <input
        type="radio"
        name="reset-kind"
        checked={(request.warm === true) === isWarm}
        onChange={() => onChange({ ...request, warm: isWarm })}
      />{' '}
      {label}
    </label>
  );
}

/** Asks for the name of the fleet before something is removed. */
export function NameQuestion({ fleet, onAnswer }: { fleet: string; onAnswer: (isRight: boolean) => void }): VNode {
  const [text, setText] = useState('');
  return (
    <p class="question">
      <label for="fleet-name">
        To confirm, type the name of the fleet: <strong>{fleet}</strong>
      </label>
      <input
        id="fleet-name"
        type="text"
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          onAnswer(event.currentTarget.value.trim() === fleet);
        }}
      />
    </p>
  );
}
