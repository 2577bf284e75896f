import type { VNode } from 'preact';
import type { ActionPlan, ActionVerb } from '../../protocol.js';
import { plural } from '../text/format.js';
import { lossText, stepGroups } from '../text/plan-text.js';
import { Command } from './copy.js';
import { ErrorBox } from './error-box.js';

/** What an action would do, and what it would discard. */
export function PlanView({ verb, plan }: { verb: ActionVerb; plan: ActionPlan }): VNode {
  const { loss, refusal, notes, command, unchanged, refused } = plan;
  return (
    <>
      {refusal !== null && <ErrorBox error={refusal} title="This would be refused" />}
      {loss !== null && refusal === null && (
        <p class="box bad">
          <strong>{lossText(verb, loss)}</strong>
        </p>
      )}
      <Steps plan={plan} />
      {unchanged > 0 && <p>{plural(unchanged, 'member')} unchanged</p>}
      {refused.length > 0 && (
        <>
          <h3>Skipped</h3>
          <ul class="plain scroll short">
            {refused.map(({ name, reason, hint }) => (
              <li key={name}>
                <strong>{name}</strong>: {reason}. <span class="hint">{hint}</span>
              </li>
            ))}
          </ul>
        </>
      )}
      {notes.length > 0 && (
        <ul class="notes">
          {notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      <Command command={command} title="Command" />
    </>
  );
}

function Steps({ plan: { steps, refusal } }: { plan: ActionPlan }): VNode | null {
  if (steps.length === 0) return refusal === null ? <p>There is nothing to do.</p> : null;
  return (
    <table class="steps">
      <caption>Steps</caption>
      <thead>
        <tr>
          <th scope="col">Members</th>
          <th scope="col">Steps</th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        {stepGroups(steps).map(({ count, indexes, steps: what, why }) => (
          <tr key={`${indexes} ${what}`}>
            <th scope="row">
              {plural(count, 'member')} <span class="note">{indexes}</span>
            </th>
            <td>{what}</td>
            <td>{why}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
