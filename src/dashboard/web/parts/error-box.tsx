import type { VNode } from 'preact';
import type { ErrorReport } from '../../../core/errors.js';

/** An error with everything that is known about it. */
export function ErrorBox({ error, title }: { error: ErrorReport; title?: string }): VNode {
  const { code, message, hint, details = [] } = error;
  return (
    <div class="box bad">
      <p>
        <strong>{title === undefined ? message : `${title}: ${message}`}</strong> <code class="code">{code}</code>
      </p>
      {details.length > 0 && (
        <ul>
          {details.map((detail) => (
            <li key={detail}>{detail}</li>
          ))}
        </ul>
      )}
      {hint !== undefined && <p class="hint">{hint}</p>}
    </div>
  );
}
