import type { ErrorReport } from '../../core/errors.js';

/** Why the real run would refuse everything that the dry run shows. */
export function renderRefusal({ message, details = [], hint }: ErrorReport): string[] {
  return [
    '',
    `This would be refused: ${message.replace(/; nothing was changed$/, '')}`,
    ...details.map((detail) => `    ${detail}`),
    ...(hint === undefined ? [] : [`  → ${hint}`]),
  ];
}
